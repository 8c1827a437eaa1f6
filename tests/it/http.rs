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
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&folder)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let path = folder.display();
    sandbox.write(
        "nginx/nginx.conf",
        format!(
            "daemon off; pid {path}/pid; error_log {path}/error.log; events {{}}\nhttp {{ access_log off; client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;\n\
             location /health {{ default_type application/json; return 200 '{{\"ok\": true, \"key\": \"$http_idempotency_key\", \"token\": \"$http_x_token\", \"method\": \"$request_method\"}}'; }}\n\
             location /echo {{ return 200 \"$http_x_evil\"; }}\n\
             location = /x {{ default_type application/json; return 201 '{{\"id\": 7}}'; }}\n\
             location = /x/7 {{ return 204; }}\n\
             location = /deploys {{ if ($http_authorization = '') {{ return 401; }} return 204; }}\n\
             location /down {{ return 503 'maintenance'; }} }} }}\n"
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
        sandbox.write("book.yaml", format!("runbook: f\nphases: {{ p: {{ steps: {{ a: {{ http: {{ url: \"{url}\" }} }} }} }} }}\n"));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{url}: {shown}");
    }
}
