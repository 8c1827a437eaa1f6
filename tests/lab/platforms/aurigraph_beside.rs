//! What Aurigraph has beside its migration: the four weeks before, the four failovers and their way
//! back, and what comes afterwards. Each is gone through dry before it is done.

use super::Platform;
use super::aurigraph::aurigraph;

/// All of the traffic at the old nodes, as the lab begins.
const BEFORE: [f64; 7] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];

fn answer(step: &str) -> &str {
    match step {
        "window" => "--as done --set date=2026-03-07 --set from=06:00",
        "orders" => "--as done --set tickets=1,2,3",
        "rehearse-deployment" => "--as done --set minutes=28",
        "rehearse-migration" => "--as done --set downtime_seconds=95 --set rollback_minutes=12",
        "rehearse-failover" => "--as done --set all_in_time=true",
        "restore" => "--as done --set height=2000",
        "cost" => "--as done --set monthly_dollars=20264",
        "freeze" | "keys" => "--as done --set ticket=4711",
        "operations" => "--as done --set accepted_by=operations",
        _ => "--as go",
    }
}

#[test]
fn aurigraph_fails_over_and_back_between_its_weeks_before_and_its_hand_over() {
    let aurigraph = aurigraph(151..165);
    let own = aurigraph.lab.path("aurigraph").display().to_string();
    let weeks = "run runbooks/aurigraph/checklist.yaml --env lab --yes";
    aurigraph.is_dry(weeks);
    let (asked, shown) =
        aurigraph.through(weeks, |step| if step == "cost" { "--as go" } else { answer(step) });
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked.len(), 11, "{asked:?}");
    aurigraph.has_told(&[
        "Aurigraph moves to three clouds on 2026-03-07",
        "Tomorrow: Aurigraph moves to three clouds",
    ]);

    let run = |scenario: &str| {
        format!(
            "run runbooks/aurigraph/failover-{scenario}.yaml --env lab \
             --values {own}/failover-values.yaml --yes --parallel 8"
        )
    };
    aurigraph.fails_over(&run("node"), &own, BEFORE);
    aurigraph.fails_over(&run("zone"), &own, BEFORE);
    aurigraph.fails_over(&run("cloud"), &own, [0.0, 0.285, 0.285, 0.0, 0.0, 0.215, 0.215]);
    // A region that really does not answer, and comes back while the failback waits for it.
    aurigraph.fail(&own, "us-west-2");
    let region = format!("{} --set reason=failure", run("region"));
    let (_, shown) = aurigraph.through(&region, answer);
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(aurigraph.shares(&own), [0.0, 0.4, 0.0, 0.15, 0.15, 0.15, 0.15]);
    let failback = aurigraph.begin("rollback --yes");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(
        aurigraph.shares(&own)[0],
        0.0,
        "nothing goes back to a region that does not answer"
    );
    aurigraph.fail(&own, "");
    let ended = failback.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{}", aurigraph.sandbox.read("said"));
    assert_eq!(aurigraph.shares(&own), BEFORE);

    let after = format!(
        "run runbooks/aurigraph/post-migration.yaml --env lab --values {own}/post-values.yaml --yes"
    );
    let old = format!("{own}/terraform/old/terraform.tfstate");
    assert!(aurigraph.resources(&old) > 0);
    aurigraph.is_dry(&after);
    let (asked, shown) = aurigraph.through(&after, answer);
    assert!(shown.ends_with("exit 0"), "{shown}");
    // `--yes` also passes the point of no return.
    assert_eq!(asked, ["stay", "cost", "keys", "operations"]);
    assert_eq!(aurigraph.resources(&old), 0, "the old nodes are gone");
}

impl Platform {
    /// Goes through a failover dry, does it, and takes it back: with these weights in between.
    fn fails_over(&self, run: &str, own: &str, during: [f64; 7]) {
        self.is_dry(run);
        assert_eq!(self.shares(own), BEFORE, "{run}");
        let (_, shown) = self.through(run, answer);
        assert!(shown.ends_with("exit 0"), "{run}: {shown}");
        assert_eq!(self.shares(own), during, "{run}");
        let shown = self.say("rollback --yes");
        assert!(shown.ends_with("exit 4"), "{run}: {shown}");
        assert_eq!(self.shares(own), BEFORE, "{run}");
    }

    /// This region does not answer any more; with an empty name all do.
    fn fail(&self, own: &str, region: &str) {
        let file = format!("{own}/world.json");
        let mut world: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        world["failed"] =
            if region.is_empty() { serde_json::json!([]) } else { serde_json::json!([region]) };
        std::fs::write(format!("{file}.new"), world.to_string()).unwrap();
        std::fs::rename(format!("{file}.new"), file).unwrap();
    }
}
