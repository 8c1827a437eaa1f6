//! Lattice: users and data move to three providers. Killed in the middle of both, it goes on by
//! itself; and what was written at the new places comes back.

use super::Platform;

const SERVERS: &[&str] =
    &["postgres-old", "postgres-new", "redis", "dns-1", "dns-2", "nginx", "haproxy", "prometheus"];

fn answer(step: &str) -> &str {
    match step.rsplit('/').next() {
        Some("rules") => "--as done --set reviewed_by=security",
        Some("reviewed") => "--as done --set findings=0",
        Some("cost") => "--as done --set dollars=188 --set per_project=1.9",
        _ => "--as go",
    }
}

#[test]
fn lattice_moves_though_it_is_killed_and_comes_back_with_what_was_written() {
    let mut lattice = Platform::with("lattice", SERVERS, 81..95);
    lattice.prepare("lab/setup up 1");
    let room = lattice.lab.path("lattice").display().to_string();
    lattice.take_secrets(&format!("{room}/secrets.env"));
    let run = format!(
        "run runbooks/lattice/lattice.yaml --env lab --values {room}/values.yaml --yes --parallel 8"
    );

    lattice.is_dry(&run);
    // The first share of the users goes to the new side, and everything dies.
    let (asked, shown) = lattice.until(&run, answer, "foundation/go-live/traffic/begin");
    assert!(shown.ends_with("exit 3"), "{shown}");
    assert_eq!(asked, ["spending", "rules"]);
    lattice.answer("traffic/begin", "--as go");
    lattice.killed_when("resume --yes", || lattice.weight("new") >= 10);
    // Nobody can write any more, and everything dies again.
    let (asked, shown) = lattice.until("resume --yes", answer, "window");
    assert!(
        asked.is_empty() && shown.ends_with("exit 3"),
        "a killed run goes on by itself: {shown}"
    );
    lattice.answer("window", "--as go");
    let closed =
        || lattice.lab.psql("postgres-old", "engine", "SHOW default_transaction_read_only") == "on";
    lattice.killed_when("resume --yes", closed);
    let (asked, shown) = lattice.through("resume --yes --parallel 8", answer);
    assert!(shown.ends_with("exit 0"), "{shown}");
    let asked: Vec<&str> = asked.iter().filter_map(|step| step.rsplit('/').next()).collect();
    assert_eq!(asked, ["begin-2", "begin", "begin-3", "begin", "reviewed", "cost", "accepted"]);

    let rows = |server: &str, database: &str, table: &str| {
        lattice.lab.psql(server, database, &format!("SELECT count(*) FROM {table}"))
    };
    assert_eq!(rows("postgres-new", "engine", "mutations"), "20000");
    assert_eq!(rows("postgres-new", "portal", "accounts"), "1000");
    assert!(closed(), "nobody writes to the old place by mistake");
    assert_eq!(lattice.redis("1", &["EVAL", "return #redis.call('KEYS', 'session:*')", "0"]), "50");
    assert_eq!((lattice.weight("old"), lattice.weight("new")), (0, 100));
    for name in ["app.example.test", "www.example.test"] {
        assert_eq!(lattice.dig(name, "CNAME"), "cname.vercel-dns.com.");
    }
    lattice.has_told(&[
        "Lattice is read-only for some minutes",
        "Lattice takes changes again",
        "Lattice has moved",
    ]);

    // What is written there comes back.
    lattice.lab.psql(
        "postgres-new",
        "engine",
        "INSERT INTO mutations (project, body) VALUES (1, 'written at the new place')",
    );
    lattice.redis("1", &["SET", "session:51", "user-51"]);
    let shown = lattice.say("rollback --yes --parallel 8");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert!(!closed());
    assert_eq!(rows("postgres-old", "engine", "mutations"), "20001");
    assert_eq!(lattice.redis("0", &["GET", "session:51"]), "user-51");
    assert_eq!(rows("postgres-new", "engine", "pg_tables WHERE schemaname = 'public'"), "0");
    assert_eq!((lattice.weight("old"), lattice.weight("new")), (100, 0));
    for name in ["app.example.test", "www.example.test"] {
        assert_eq!(lattice.dig(name, "CNAME"), "today.example.test.");
    }
    for stack in ["foundation", "optimization", "advanced"] {
        assert_eq!(
            lattice.resources(&format!("{room}/infrastructure/{stack}/terraform.tfstate")),
            0,
            "{stack}"
        );
    }
    lattice.has_told(&["Lattice is back at today's provider"]);
}
