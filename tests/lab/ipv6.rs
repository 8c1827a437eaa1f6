//! Servers that are reached over IPv6, at `[::1]`: BIND, PostgreSQL and MariaDB of the lab, which
//! listens on IPv4 alone, behind a way from there that hands on each byte. Redis is asked by a
//! command, as the program has no action for it.

use std::net::{TcpListener, TcpStream};

use super::dns::KEY;
use super::sandbox::Sandbox;
use super::servers::lab;

/// A port at `[::1]` that leads to this one of the lab.
fn way_to(server: &str) -> u16 {
    let listener = TcpListener::bind("[::1]:0")
        .expect("this machine has no ::1, without which nothing is said of IPv6");
    let (port, target) = (listener.local_addr().unwrap().port(), lab().port(server));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (here, there) =
                (stream.unwrap(), TcpStream::connect(("127.0.0.1", target)).unwrap());
            for (mut from, mut to) in
                [(here.try_clone().unwrap(), there.try_clone().unwrap()), (there, here)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

#[test]
fn servers_at_an_ipv6_address_are_reached_with_and_without_brackets() {
    let [dns, postgres, mariadb, redis] =
        ["dns-1", "postgres-old", "mariadb-old", "redis"].map(way_to);
    for (number, host) in ["[::1]", "::1"].into_iter().enumerate() {
        let sandbox = Sandbox::with(&format!(
            r#"runbook: six
secrets: {{ dns: {{ env: DNS_KEY }}, shop: {{ env: SHOP_PASSWORD }} }}
zones: {{ lab: {{ rfc2136: {{ server: "{host}", port: {dns}, zone: example.test, key: {{ name: lab, secret: {{ secret: dns }} }} }} }} }}
databases:
  pg: {{ postgres: {{ host: "{host}", port: {postgres}, database: shop, user: shop, password: {{ secret: shop }} }} }}
  my: {{ mysql: {{ host: "{host}", port: {mariadb}, database: shop, user: shop, password: {{ secret: shop }} }} }}
phases:
  p:
    steps:
      pg: {{ sql: {{ database: pg, query: "SELECT 1 + 1" }}, expect: "rows[0][0] == 2" }}
      my: {{ sql: {{ database: my, query: "SELECT 1 + 1" }}, expect: "rows[0][0] == 2" }}
      redis: {{ run: [redis-cli, -h, "::1", -p, "{redis}", PING], expect: "stdout == 'PONG'", undo: none }}
      point: {{ dns: {{ zone: lab, name: six{number}, type: AAAA, value: "2001:db8::6", ttl: 5s, expect: [] }} }}
      seen:
        needs: [point]
        propagation: {{ servers: ["[::1]:{dns}"], name: six{number}.example.test, type: AAAA, values: ["2001:db8::6"], every: 100ms, timeout: 20s }}
"#
        ));
        let environment = [("DNS_KEY", KEY.to_owned()), ("SHOP_PASSWORD", "lab-shop".to_owned())];
        let shown = sandbox.run_with("run book.yaml", &environment);
        assert!(shown.ends_with("exit 0") && shown.contains("all 1 agree"), "{host}: {shown}");
        let shown = sandbox.run_with("rollback", &environment);
        assert!(shown.ends_with("exit 4"), "{host}: {shown}");
    }
}
