//! Bitcoin Prediction: a release is promoted to production on six platforms, and taken back.

use super::Platform;

const SERVERS: &[&str] = &["postgres-new", "nginx", "haproxy", "redis", "prometheus"];

fn answer(step: &str) -> &str {
    match step {
        "acknowledge" => "--as done --set minutes=4",
        "usage" => {
            "--as done --set vercel_gb_seconds=12 --set render_hours=700 --set \
             neon_thousand_queries=90 --set upstash_commands=4000 --set cloudinary_gb=3"
        }
        _ => "--as go",
    }
}

#[test]
fn bitcoin_prediction_is_promoted_and_taken_back() {
    let mut bitcoin = Platform::with("bitcoin-prediction", SERVERS, 123..137);
    bitcoin.prepare("lab-data");
    bitcoin.take_secrets("lab.env");
    bitcoin.sandbox.write("lab.yaml", bitcoin.prepare("lab-values"));
    let run = "run runbooks/bitcoin-prediction/bitcoin-prediction.yaml --env lab --values lab.yaml \
        --yes --parallel 8";
    bitcoin.is_dry(run);
    let (asked, shown) = bitcoin.through(run, answer);
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked, ["stakeholder-approval", "acknowledge", "usage"]);

    let endpoints = "SELECT string_agg(service, ' ' ORDER BY service) FROM service_endpoints WHERE \
        environment = 'production' AND release = 'v1.5.0'";
    assert_eq!(
        bitcoin.lab.psql("postgres-new", "shop", endpoints),
        "api frontend grafana mlflow prometheus"
    );
    assert_eq!(bitcoin.redis("0", &["GET", "predictions:release"]), "v1.5.0");
    assert_eq!(bitcoin.told("vercel")["production"], "https://bitcoin-prediction-new1.vercel.app");
    let runs = |service: &str| {
        bitcoin.told("render")[format!("live-{service}")].as_str().unwrap_or_default().to_owned()
    };
    for service in ["api", "mlflow", "prometheus", "grafana"] {
        assert!(
            runs(&format!("srv-{service}")).contains(&format!("/{service}:v1.5.0\"")),
            "{service}"
        );
    }
    // All that there is to lose is also outside of the database.
    let backups = std::fs::read_dir(bitcoin.lab.path("bitcoin-prediction-backups")).unwrap();
    assert!(
        backups.map(|entry| entry.unwrap().path()).any(|backup| backup.join("SHA256SUMS").exists())
    );
    bitcoin.has_told(&[
        "Bitcoin Prediction: production is being released",
        "Bitcoin Prediction: promoted",
        "Bitcoin Prediction v1.5.0 is in production",
    ]);

    let shown = bitcoin.say("rollback --yes --parallel 8");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(bitcoin.lab.psql("postgres-new", "shop", endpoints), "");
    assert_eq!(bitcoin.redis("0", &["EXISTS", "predictions:release"]), "0");
    assert_eq!(bitcoin.told("vercel")["production"], "https://bitcoin-prediction-old0.vercel.app");
    for service in ["api", "mlflow", "prometheus", "grafana"] {
        assert!(runs(&format!("srv-{service}")).contains("before:v1.4.0"), "{service}");
    }
    assert_eq!(
        bitcoin.lab.psql("postgres-new", "shop", "SELECT count(*) FROM predictions"),
        "1000"
    );
    bitcoin.has_told(&["Bitcoin Prediction: the release before is back"]);
}
