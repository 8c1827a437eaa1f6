//! Aurigraph: a ledger and its traffic move to 66 nodes in three clouds, and back with every block.

use super::Platform;

const SERVERS: &[&str] =
    &["postgres-old", "postgres-new", "dns-1", "dns-2", "nginx", "haproxy", "redis", "prometheus"];

fn answer(step: &str) -> &str {
    match step {
        "war-room" => "--as done --set bridge=lab --set open_items=0",
        _ => "--as go",
    }
}

#[test]
fn aurigraph_moves_its_ledger_and_brings_every_block_back() {
    let aurigraph = aurigraph(95..109);
    let own = aurigraph.lab.path("aurigraph").display().to_string();
    let run = format!(
        "run runbooks/aurigraph/aurigraph.yaml --env lab --values {own}/values.yaml --yes \
         --parallel 8"
    );
    aurigraph.is_dry(&run);
    let (asked, shown) = aurigraph.through(&run, answer);
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked, ["war-room", "go-build", "go-cutover", "go-ramp"]);

    let blocks = |server: &str| {
        aurigraph.lab.psql(
            server,
            "shop",
            "SELECT count(*), sum(hashtextextended(hash, height)) FROM ledger.blocks",
        )
    };
    assert!(
        blocks("postgres-new").starts_with("2001|"),
        "2,000 blocks, and the one that the validation has written"
    );
    assert_eq!(blocks("postgres-new"), blocks("postgres-old"), "the way back is open");
    let closed =
        |server: &str| aurigraph.lab.psql(server, "shop", "SHOW default_transaction_read_only");
    assert_eq!(
        (closed("postgres-old"), closed("postgres-new")),
        ("on".to_owned(), "off".to_owned())
    );
    assert_eq!(aurigraph.dig("rpc.example.test", "CNAME"), "global.example.test.");
    assert_eq!(aurigraph.dig("ledger.example.test", "CNAME"), "ledger-new.example.test.");
    assert_eq!(
        (aurigraph.weight("old"), aurigraph.weight("new"), aurigraph.visit()),
        (0, 100, "new".to_owned())
    );
    assert_eq!(
        aurigraph.shares(&own),
        [0.0, 0.2, 0.2, 0.15, 0.15, 0.15, 0.15],
        "the old nodes, and 40/30/30 to six regions"
    );
    for cloud in ["aws", "azure", "gcp"] {
        assert!(
            aurigraph.resources(&format!("{own}/terraform/{cloud}/terraform.tfstate")) >= 22,
            "{cloud} has 22 nodes"
        );
    }
    aurigraph.has_told(&[
        "Aurigraph takes transactions again",
        "Aurigraph has moved to AWS, Azure and GCP",
    ]);

    // A block of the new side comes back too.
    aurigraph.lab.psql(
        "postgres-new",
        "shop",
        "INSERT INTO ledger.blocks (hash) VALUES (md5('written at the new place'))",
    );
    let shown = aurigraph.say("rollback --yes --parallel 8");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert!(blocks("postgres-old").starts_with("2002|"));
    assert_eq!(closed("postgres-old"), "off");
    assert_eq!(aurigraph.dig("rpc.example.test", "CNAME"), "legacy.example.test.");
    assert_eq!(aurigraph.dig("ledger.example.test", "CNAME"), "ledger-old.example.test.");
    assert_eq!(
        (aurigraph.weight("old"), aurigraph.weight("new"), aurigraph.visit()),
        (100, 0, "old".to_owned())
    );
    for server in ["postgres-old", "postgres-new"] {
        let left = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM \
            pg_subscription) + (SELECT count(*) FROM pg_replication_slots)";
        assert_eq!(aurigraph.lab.psql(server, "shop", left), "0", "{server}");
    }
    for cloud in ["aws", "azure", "gcp"] {
        assert_eq!(
            aurigraph.resources(&format!("{own}/terraform/{cloud}/terraform.tfstate")),
            0,
            "{cloud}"
        );
    }
}

/// With its ledger, its old nodes and the names as they are before.
pub(super) fn aurigraph(hundreds: std::ops::Range<u16>) -> Platform {
    let mut aurigraph = Platform::with("aurigraph", SERVERS, hundreds);
    aurigraph.prepare("lab/up");
    aurigraph.give(&[
        ("OLD_DB_PASSWORD", "lab-ledger"),
        ("NEW_DB_PASSWORD", "lab-ledger"),
        ("CLOUDFLARE_API_TOKEN", "lab-cloudflare-token"),
        ("DNS_KEY", "bGFiLWtleS1mb3ItdGhlLWxhYi1vbmx5LTMyYnl0ZXM="),
        ("BACKUP_PGPASS", "*:*:*:*:lab-ledger"),
    ]);
    aurigraph
}

impl Platform {
    /// The weights at Cloudflare's load balancer: the old nodes, then the six regions.
    pub(super) fn shares(&self, own: &str) -> [f64; 7] {
        let world: serde_json::Value =
            serde_json::from_slice(&std::fs::read(format!("{own}/world.json")).unwrap()).unwrap();
        let weights = &world["random_steering"]["pool_weights"];
        // A pool's id counts up from the old nodes' on; what has no weight gets nothing.
        std::array::from_fn(|at| weights[format!("{:032x}", 0xa0 + at)].as_f64().unwrap_or(0.0))
    }
}
