//! Arbor and Kumori: a release by canary. The first one answers with errors at a quarter of the visitors and is taken back; the second is out.

use std::time::{Duration, Instant};

use super::super::sandbox::signal;
use super::Platform;

const SERVERS: &[&str] = &["postgres-old", "postgres-new", "dns-1", "nginx", "haproxy", "prometheus"];

#[test]
fn arbor_and_kumori_release_goes_back_from_errors_and_the_next_one_is_out() {
    // Its ports are told by their hundred.
    let mut arbor = Platform::with("arbor-kumori", SERVERS, 109..123);
    arbor.prepare("lab/prepare");
    arbor.take_secrets("lab/secrets.sh");
    let (lab, hundred) = (arbor.lab.path("").display().to_string(), arbor.lab.first_port / 100);
    let run =
        format!("run runbooks/arbor-kumori/deploy.yaml --env lab --set lab={} --set ports={hundred} --yes", lab.trim_end_matches('/'));

    arbor.is_dry(&run);
    let shown = arbor.say(&run);
    assert!(shown.ends_with("exit 3"), "{shown}");
    assert!(arbor.say("resolve migrate-go --as go --reason lab").ends_with("exit 0"));
    let child = arbor.begin("resume --yes");
    let begun = Instant::now();
    while arbor.weight("new") < 25 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", arbor.sandbox.read("said"));
        std::thread::sleep(Duration::from_millis(50));
    }
    arbor.answers("return 500;");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{}", arbor.sandbox.read("said"));
    arbor.has_told(&["Arbor and Kumori: the release is taken back", "Arbor and Kumori: the release was taken back"]);
    arbor.is_as_before();

    arbor.answers("");
    let (asked, shown) = arbor.through(&run, |_| "--as go");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked, ["migrate-go"]);
    assert_eq!((arbor.weight("old"), arbor.weight("new"), arbor.visit()), (0, 100, "new".to_owned()));
    assert_eq!(arbor.told("vercel")["production"], "https://lab-new1.vercel.app");
    for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] {
        assert_eq!(arbor.told("kubectl")[format!("lab-{region}-arbor-api")], "arbor/api:v2026.11.0", "{region}");
    }
    assert_eq!(
        arbor.lab.psql("postgres-old", "shop", "SELECT (SELECT count(*) FROM arbor.agents) + (SELECT count(*) FROM kumori.images)"),
        "3000"
    );
    arbor.has_told(&[
        "Arbor and Kumori: the new release has all the traffic",
        "Released: Arbor and Kumori",
        "Arbor and Kumori: the release is out",
    ]);

    let shown = arbor.say("rollback --yes");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(arbor.told("kubectl")["lab-us-east-1-arbor-api"], "arbor/api:v2026.10.0");
    arbor.is_as_before();
}

impl Platform {
    /// What the new side answers to everything from now on: a line of nginx, or as usual.
    fn answers(&self, line: &str) {
        std::fs::write(self.lab.path("nginx/new.conf"), line).unwrap();
        let nginx = std::fs::read_to_string(self.lab.path("nginx.pid")).unwrap();
        signal("HUP", nginx.trim().parse().unwrap());
    }

    fn is_as_before(&self) {
        assert_eq!((self.weight("old"), self.weight("new"), self.visit()), (100, 0, "old".to_owned()));
        let vercel = self.told("vercel");
        assert_ne!(vercel["production"], "https://lab-new1.vercel.app", "{vercel}");
        assert_eq!(vercel["green.arbor.example.com"], "", "{vercel}");
        // Migrations only ever add: every row stays.
        let rows = "SELECT (SELECT count(*) FROM arbor.agents) + (SELECT count(*) FROM kumori.images)";
        assert_eq!(self.lab.psql("postgres-old", "shop", rows), "3000");
    }
}
