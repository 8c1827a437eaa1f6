//! The `http` action against a real nginx, with and without TLS.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::sandbox::Sandbox;

pub struct Nginx {
    process: Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Two free ports, and an nginx that answers on them: plain, and with a certificate of its own.
pub fn nginx(sandbox: &Sandbox) -> (Nginx, u16, u16) {
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (plain, tls) = (port(), port());
    let folder = sandbox.path("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(&folder)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let path = folder.display();
    sandbox.write(
        "nginx/nginx.conf",
        format!(
            "daemon off; pid {path}/pid; error_log {path}/error.log; events {{}}\
             \nhttp {{ access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; \
             fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\
             \nserver {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; \
             ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;\
             \nlocation /health {{ default_type application/json; return 200 '{{\"ok\": \
             true, \"key\": \"$http_idempotency_key\", \"token\": \"$http_x_token\", \"method\": \
             \"$request_method\"}}'; }}\nlocation /echo {{ return 200 \"$http_x_evil\"; }}\
             \nlocation = /x {{ default_type application/json; return 201 '{{\"id\": 7}}'; }}\
             \nlocation = /x/7 {{ return 204; }}\
             \nlocation = /deploys {{ if ($http_authorization = '') {{ return 401; }} return \
             204; }}\nlocation = /old {{ return 308 /new; }}\
             \nlocation = /status {{ default_type application/json; return 200 '{{\"ok\": \
             true}}'; }}\nlocation /down {{ return 503 'maintenance'; }} }} }}\n"
        ),
    );
    let process = Command::new("/usr/sbin/nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx, of the package nginx-light");
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", plain)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nginx does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    (Nginx { process }, plain, tls)
}

#[test]
fn requests_are_sent_judged_and_captured() {
    let sandbox = Sandbox::new();
    let (_nginx, plain, tls) = nginx(&sandbox);
    sandbox.write(
        "book.yaml",
        format!(
            r#"runbook: http
secrets: {{ token: {{ file: token.txt }} }}
phases:
  p:
    steps:
      read: {{ http: {{ url: "http://127.0.0.1:{plain}/health" }}, expect: json.ok, capture: {{ method: json.method }} }}
      send:
        http: {{ method: POST, url: "http://127.0.0.1:{plain}/health", headers: {{ X-Token: {{ secret: token }} }}, json: {{ by: "{{{{ run.operator }}}}" }} }}
        expect: [status == 200, 'json.token == "(the secret token)"', 'json.key.endsWith("p/send:forward")', 'json.method == "POST"']
        undo: none
      encrypted: {{ http: {{ url: "https://localhost:{tls}/health", tls: {{ ca: nginx/cert.pem }} }}, expect: 'headers["content-type"] == "application/json"' }}
      down: {{ http: {{ url: "http://127.0.0.1:{plain}/down" }}, expect: status == 503 }}
"#
        ),
    );
    sandbox.write("token.txt", "s3cr3t");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let events = sandbox.run("audit --format json");
    assert!(!events.contains("s3cr3t"));
}

#[test]
fn failures_say_what_and_where() {
    let sandbox = Sandbox::new();
    let (_nginx, plain, tls) = nginx(&sandbox);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, words) in [
        (format!("http://127.0.0.1:{plain}/down"), "503 Service Unavailable: maintenance"),
        (format!("http://127.0.0.1:{free}/"), "refused"),
        (format!("https://localhost:{tls}/health"), "certificate"),
        ("http://nowhere.invalid/".to_owned(), "nowhere.invalid"),
    ] {
        sandbox.write(
            "book.yaml",
            format!(
                "runbook: f\nphases: {{ p: {{ steps: {{ a: {{ http: {{ \
            url: \"{url}\" }} }} }} }} }}\n"
            ),
        );
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{url}: {shown}");
    }
}

/// A server that answers each request with what `answer` says, and what it was sent.
fn server(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut text, mut chunk) = (stream.unwrap(), String::new(), [0; 4096]);
            while !text.contains("\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => text.push_str(&String::from_utf8_lossy(&chunk[..read])),
                }
            }
            let said = answer(text.lines().next().unwrap_or_default());
            let _ = stream.write_all(said.as_bytes());
            if send.send(text).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

fn redirect_to(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\
         \n"
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\
    \nConnection: close\r\n\r\nok";

#[test]
fn another_origin_is_asked_only_where_the_step_says_so_and_gets_nothing_of_the_request() {
    let (other, asked) = server(|_| OK.to_owned());
    let target = format!("http://{other}/landed");
    let (first, begun) = server(move |line| match line {
        line if line.starts_with("GET /away") => redirect_to(&target),
        line if line.starts_with("GET /here") => redirect_to("/there"),
        _ => OK.to_owned(),
    });
    let book = |path: &str, keys: &str, expect: &str| {
        format!(
            r#"runbook: f
phases:
  p:
    steps:
      token: {{ run: 'echo "token=s3cr3t-of-a-step" >> "$SWITCHOVER_OUTPUT"', undo: none }}
      ask:
        needs: [token]
        http: {{ url: "http://{first}{path}", headers: {{ X-Token: "{{{{ steps.token.token }}}}" }}{keys} }}
        expect: {expect}
"#
        )
    };
    let sandbox = Sandbox::new();
    let run = |path: &str, keys: &str, expect: &str| {
        sandbox.write("book.yaml", book(path, keys, expect));
        sandbox.run("run book.yaml")
    };
    let shown = run("/away", "", "status == 200");
    assert!(shown.ends_with("exit 1"), "{shown}");
    let shown = run("/away", "", "body == 'ok'");
    assert!(
        shown.contains("302 Found")
            && shown.contains("which was not followed: it leads to another origin"),
        "{shown}"
    );
    let shown = run("/away", "", "status == 302 && location.endsWith('/landed')");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(run("/away", ", follow: none", "status == 302").ends_with("exit 0"));
    assert!(run("/here", ", follow: none", "status == 302").ends_with("exit 0"));
    assert!(asked.try_recv().is_err(), "nobody else was asked");
    let shown = run(
        "/away",
        ", follow: any",
        "status == 200 && headers['set-cookie'] == 'a, b' && location == null",
    );
    assert!(shown.ends_with("exit 0"), "{shown}");
    let sent = asked.recv().unwrap();
    for ours in ["s3cr3t-of-a-step", "token", "dempotency"] {
        assert!(!sent.contains(ours), "{sent}");
    }
    begun.try_iter().for_each(drop);
    assert!(run("/here", "", "status == 200").ends_with("exit 0"));
    let sent: Vec<String> = begun.try_iter().collect();
    assert!(
        sent.len() == 2 && sent.iter().all(|sent| sent.contains("s3cr3t-of-a-step")),
        "{sent:?}"
    );
    sandbox.write(
        "book.yaml",
        "runbook: \
         f\
         \nphases: { p: { steps: { a: { http: { method: POST, url: 'http://x/', follow: any }, undo: none } } } \
         }\n",
    );
    assert!(
        sandbox.run("check book.yaml").contains("a redirect that answers a POST is not followed")
    );
}

#[test]
fn a_value_does_not_become_another_path() {
    let (address, asked) = server(|_| OK.to_owned());
    let sandbox = Sandbox::new();
    let run = |path: &str, id: &str| {
        sandbox.write(
            "book.yaml",
            format!(
                "runbook: d
parameters: {{ api: {{ default: 'http://{address}' }}, id: {{ default: '{id}' }} }}
phases:
  p:
    steps:
      a: {{ http: {{ method: DELETE, url: \"{{{{ api }}}}{path}\" }}, undo: none }}
"
            ),
        );
        sandbox.run("run book.yaml")
    };
    for (path, line) in [
        ("/users/{{ id }}", "DELETE /users/1%2F..%2F..%2Fadmin%3Fforce%3Dtrue%23 HTTP/1.1"),
        ("/users?id={{ id }}", "DELETE /users?id=1%2F..%2F..%2Fadmin%3Fforce%3Dtrue%23 HTTP/1.1"),
    ] {
        let shown = run(path, "1/../../admin?force=true#");
        assert!(shown.ends_with("exit 0"), "{shown}");
        assert!(asked.recv().unwrap().starts_with(line));
    }
    let shown = run("/users/{{ id }}/x", "..");
    assert!(shown.contains("nothing was sent") && shown.ends_with("exit 1"), "{shown}");
    assert!(asked.try_recv().is_err());
}
