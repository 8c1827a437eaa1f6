//! AddToCloud: three clusters and their databases come to be, get the visitors, and go again.

use super::Platform;

const SERVERS: &[&str] =
    &["postgres-old", "postgres-new", "dns-1", "dns-2", "nginx", "haproxy", "redis", "prometheus"];

#[test]
fn addtocloud_moves_to_three_clouds_and_leaves_nothing_there_when_it_goes_back() {
    let mut addtocloud = Platform::with("addtocloud", SERVERS, 137..151);
    addtocloud.prepare("lab-data");
    addtocloud.take_secrets("lab.env");
    addtocloud.sandbox.write("lab.yaml", addtocloud.prepare("lab-values"));
    let run =
        "run runbooks/addtocloud/addtocloud.yaml --env lab --values lab.yaml --yes --parallel 8";
    addtocloud.is_dry(run);
    let (asked, shown) = addtocloud.through(run, |_| "--as go");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked, ["infrastructure/terraform/plan/approve", "go-live/approve"]);

    let all = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM deployments)";
    for (server, database) in
        [("postgres-old", "shop"), ("postgres-new", "shop"), ("postgres-new", "shop_backup")]
    {
        assert_eq!(addtocloud.lab.psql(server, database, all), "5500", "{server}, {database}");
    }
    assert_eq!(addtocloud.dig("api.addtocloud.example.test", "A"), "192.0.2.20");
    assert_eq!(addtocloud.dig("www.addtocloud.example.test", "CNAME"), "addtocloud.pages.dev.");
    assert_eq!(addtocloud.visitors_at_the_new_clusters(), 100);
    for cloud in ["aws", "gcp", "azure"] {
        assert!(addtocloud.resources(&addtocloud.terraform_state(cloud)) > 0, "{cloud}");
    }
    addtocloud.has_told(&[
        "AddToCloud: all visitors are in the new clusters",
        "AddToCloud runs in three clouds",
    ]);

    let shown = addtocloud.say("rollback --yes --parallel 8");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(addtocloud.lab.psql("postgres-old", "shop", all), "5500");
    for database in ["shop", "shop_backup"] {
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(addtocloud.lab.psql("postgres-new", database, tables), "0", "{database}");
    }
    assert_eq!(addtocloud.dig("api.addtocloud.example.test", "A"), "192.0.2.10");
    assert_eq!(
        addtocloud.dig("www.addtocloud.example.test", "CNAME"),
        "previous.addtocloud.example.test."
    );
    assert_eq!(addtocloud.visitors_at_the_new_clusters(), 0);
    for cloud in ["aws", "gcp", "azure"] {
        assert_eq!(addtocloud.resources(&addtocloud.terraform_state(cloud)), 0, "{cloud}");
    }
    addtocloud.has_told(&["AddToCloud is where it was"]);
}

impl Platform {
    fn terraform_state(&self, cloud: &str) -> String {
        self.lab.path(&format!("addtocloud-{cloud}.tfstate")).display().to_string()
    }

    /// Their share in percent, by the mesh's virtual service.
    fn visitors_at_the_new_clusters(&self) -> u64 {
        let told = self.told("kubectl");
        let service: serde_json::Value =
            serde_json::from_str(told["addtocloud-api"].as_str().unwrap()).unwrap();
        let routes = service["spec"]["http"][0]["route"].as_array().unwrap();
        let new = routes.iter().find(|route| {
            route["destination"]["host"] == "addtocloud-api.addtocloud.svc.cluster.local"
        });
        new.map_or(0, |route| route["weight"].as_u64().unwrap())
    }
}
