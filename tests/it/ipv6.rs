//! HTTP over IPv6, at `[::1]`. Servers of other kinds are asked in the same way by the tests with
//! the lab.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::sandbox::Sandbox;

#[test]
fn a_url_with_an_address_in_brackets_is_reached_and_looked_at() {
    let listener = TcpListener::bind("[::1]:0")
        .expect("this machine has no ::1, without which nothing is said of IPv6");
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut bytes) = (stream.unwrap(), [0; 4096]);
            // A dry run only looks whether somebody is there.
            let Ok(count @ 1..) = stream.read(&mut bytes) else { continue };
            let head = String::from_utf8_lossy(&bytes[..count]).to_lowercase();
            let host =
                head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
            let length = host.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{host}"
            );
        }
    });
    let sandbox = Sandbox::with(&format!(
        "runbook: six
phases:
  p:
    steps:
      a: {{ http: {{ url: 'http://[::1]:{port}/health' }}, expect: \"body == '[::1]:{port}'\" }}
"
    ));
    let shown = sandbox.run("run --dry-run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
}
