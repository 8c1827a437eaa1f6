//! The program against real servers: PostgreSQL, MariaDB, BIND, moto, HAProxy, nginx, Prometheus
//! and Redis, as `runbooks/lab/lab` begins them. They are begun once for all tests here, and end
//! with them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as the test does, and says what was tried"
)]

#[path = "../it/sandbox.rs"]
#[expect(dead_code, reason = "shared with the tests that need no servers")]
mod sandbox;

mod copy;
mod copy_across;
mod copy_errors;
mod dns;
mod files;
mod flagship;
mod ipv6;
mod mariadb;
mod packs;
mod platforms;
mod reference;
mod rehearsed;
mod route53;
mod route53_pages;
mod route53_slow;
mod servers;
mod shift;
mod shop;
mod sql;
