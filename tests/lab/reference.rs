//! The examples of the reference that need servers.

use super::sandbox::{Sandbox, repository};
use super::servers::{lab, web};

#[test]
fn every_example_that_needs_servers_runs_and_goes_back() {
    let reference = std::fs::read_to_string(repository().join("docs/runbook.md")).unwrap();
    let mut count = 0;
    for block in
        reference.split("```yaml lab\n").skip(1).map(|rest| rest.split("```").next().unwrap())
    {
        let sandbox = Sandbox::with(block);
        let _web = web();
        super::dns::second_server();
        let port = |server| lab().port(server).to_string();
        let values = [
            ("old_port", port("postgres-old")),
            ("pg_new_port", port("postgres-new")),
            ("new_port", port("mariadb-new")),
            ("dns_port", port("dns-1")),
            ("dns_port_2", port("dns-2")),
            ("route53", format!("http://127.0.0.1:{}", lab().port("route53"))),
            ("ca", lab().path("ca.crt").display().to_string()),
            ("haproxy", lab().path("haproxy/socket").display().to_string()),
            ("prometheus", format!("http://127.0.0.1:{}", lab().port("prometheus"))),
        ];
        let used = values.iter().filter(|(name, _)| block.contains(&format!(" {name}: {{ ")));
        let set: String = used.map(|(name, value)| format!(" --set {name}={value}")).collect();
        let environment = [
            ("SHOP_PASSWORD", "lab-shop".to_owned()),
            ("DNS_KEY", super::dns::KEY.to_owned()),
            ("AWS_ACCESS_KEY_ID", super::route53::ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", super::route53::KEY.to_owned()),
        ];
        let shown = sandbox.run_with(&format!("run book.yaml{set}"), &environment);
        assert!(shown.ends_with("exit 0"), "{block}\n{shown}");
        let shown = sandbox.run_with("rollback", &environment);
        assert!(shown.ends_with("exit 4"), "{block}\n{shown}");
        count += 1;
    }
    assert!(count > 0, "the reference has no such example");
}
