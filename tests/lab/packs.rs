//! The PostgreSQL pack: what is not ready is said plainly and before anything is changed; what must
//! not be lost is not.

use std::process::Command;

use super::sandbox::repository;
use super::servers::lab;
use super::shop::Shop;

/// What the program says of a run up to a step.
fn said(shop: &Shop, until: &str) -> String {
    shop.sandbox.run_with(&format!("{} --until {until}", shop.words(1)), &Shop::environment())
}

#[test]
fn what_is_not_ready_is_said_with_the_remedy_before_anything_is_changed() {
    let shop = Shop::open("not_ready", 100);
    let wrong =
        [("OLD_PASSWORD", "lab-mover".to_owned()), ("NEW_PASSWORD", "wrong-password".to_owned())];
    let shown = shop.sandbox.run_with(&shop.words(1), &wrong);
    assert!(
        shown.contains("new-server")
            && shown.contains("password authentication failed for user \"mover\"")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    for (server, make, words, mend) in [
        (
            "postgres-old",
            "CREATE TABLE keyless (x int); CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY)",
            "keyless has no primary key: give it one, or ALTER TABLE … REPLICA IDENTITY FULL",
            "DROP TABLE keyless",
        ),
        (
            "postgres-old",
            "SELECT 1",
            "fleeting is unlogged: ALTER TABLE … SET LOGGED",
            "DROP TABLE fleeting",
        ),
        (
            "postgres-old",
            "CREATE EXTENSION citext",
            "citext is missing: CREATE EXTENSION citext",
            "DROP EXTENSION citext",
        ),
        (
            "postgres-old",
            "CREATE TABLE more (id int PRIMARY KEY)",
            "the old server has more (id integer)",
            "DROP TABLE more",
        ),
        (
            "postgres-new",
            "INSERT INTO stock VALUES (1, 1)",
            "stock on the new server is not empty: TRUNCATE it",
            "TRUNCATE stock",
        ),
        (
            "postgres-new",
            "ALTER DATABASE not_ready SET TimeZone = 'Asia/Tokyo'",
            "the new server has TimeZone Asia/Tokyo",
            "ALTER DATABASE not_ready RESET TimeZone",
        ),
        (
            "postgres-old",
            "ALTER ROLE shop IN DATABASE not_ready SET default_transaction_read_only = off",
            "the role shop has a default_transaction_read_only of its own, which a fence cannot \
             close: RESET it",
            "ALTER ROLE shop IN DATABASE not_ready RESET default_transaction_read_only",
        ),
        (
            "postgres-new",
            "CREATE PUBLICATION not_ready_back",
            "there is a publication not_ready_back of an earlier run: DROP PUBLICATION",
            "DROP PUBLICATION not_ready_back",
        ),
    ] {
        shop.lab.psql(server, shop.name, make);
        let shown = said(&shop, "preflight");
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{words}: {shown}");
        shop.is_untouched();
        shop.lab.psql(server, shop.name, mend);
        assert!(shop.sandbox.run_with("rollback", &Shop::environment()).ends_with("exit 4"));
    }
    let shown = said(&shop, "preflight");
    assert!(shown.ends_with("exit 0"), "{shown}");
}

#[test]
fn a_write_that_got_past_the_fence_is_found_and_not_lost() {
    let shop = Shop::open("past_the_fence", 100);
    let shown = said(&shop, "stop-following");
    assert!(shown.ends_with("exit 0"), "{shown}");
    shop.lab.psql(
        "postgres-old",
        shop.name,
        "BEGIN READ WRITE; INSERT INTO orders VALUES (500, 9, 1, 1, true); COMMIT",
    );
    let shown = shop.sandbox.run_with("resume --yes", &Shop::environment());
    assert!(
        shown.contains("the old server was written to behind the fence")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    let shown = shop.sandbox.run_with("rollback --to quiet", &Shop::environment());
    assert!(shown.ends_with("exit 4"), "{shown}");
    // Open again, and followed again: the write is on both sides.
    shop.lab.psql("postgres-old", shop.name, "INSERT INTO orders VALUES (501, 9, 2, 1, true)");
    let begun = std::time::Instant::now();
    while shop.lab.psql("postgres-new", shop.name, "SELECT count(*) FROM orders WHERE worker = 9")
        != "2"
    {
        assert!(begun.elapsed().as_secs() < 60, "the write did not come");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let shown = shop.sandbox.run_with("rollback --force --reason over", &Shop::environment());
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(shop.lab.psql("postgres-old", shop.name, "SELECT count(*) FROM orders"), "102");
    shop.is_tidy("postgres-old");
    shop.is_tidy("postgres-new");
}

#[test]
fn who_stays_has_a_new_database_that_knows_nothing_of_the_old_one() {
    let shop = Shop::open("stays", 100);
    let shown = shop.sandbox.run_with(&shop.words(1), &Shop::environment());
    assert!(shown.ends_with("exit 3"), "{shown}");
    // Its sequence is ahead of every row that came.
    let id = shop.lab.psql(
        "postgres-new",
        shop.name,
        "INSERT INTO orders (worker, number, item, follows) VALUES (9, 1, 1, true) RETURNING id",
    );
    assert_eq!(id, "1101");
    assert!(
        shop.sandbox
            .run_with("resolve stay --as go --reason fine", &Shop::environment())
            .ends_with("exit 0")
    );
    let shown = shop.sandbox.run_with("resume --yes", &Shop::environment());
    assert!(shown.ends_with("exit 0"), "{shown}");
    shop.is_tidy("postgres-new");
    // Nobody writes to the old one by mistake.
    assert_eq!(
        shop.lab.psql("postgres-old", shop.name, "SHOW default_transaction_read_only"),
        "on"
    );
    assert_eq!(shop.subscriptions("postgres-old"), "0");
    shop.divide_as_before();
}

#[test]
fn the_application_notices_what_is_lost_doubled_and_reordered() {
    let mut shop = Shop::open("notices", 100);
    shop.begin();
    shop.end();
    let of = |what: &str| shop.found("postgres-old", &[])[what].as_u64().unwrap();
    for what in ["lost", "doubled", "uncounted", "reordered", "never_sent"] {
        assert_eq!(of(what), 0, "{what}");
    }
    let change = |sql: &str| shop.lab.psql("postgres-old", shop.name, sql);
    change("UPDATE orders SET id = id + 100000 WHERE worker = 1 AND number = 2");
    assert_eq!(of("reordered"), 1);
    change("DELETE FROM orders WHERE worker = 2 AND number = 3");
    assert_eq!((of("lost"), of("doubled")), (1, 1), "it is not there, but was counted");
    change("UPDATE stock SET sold = sold - 1 WHERE item = 5");
    assert_eq!((of("lost"), of("doubled"), of("uncounted")), (1, 0, 0));
    change(
        "ALTER TABLE orders DROP CONSTRAINT orders_worker_number_key; INSERT INTO orders (worker, \
         number, item, follows) SELECT worker, number, item, follows FROM orders WHERE worker = 3 \
         AND number < 4",
    );
    assert_eq!((of("doubled"), of("uncounted")), (3, 3));
    change("INSERT INTO orders (worker, number, item, follows) VALUES (4, 1000000, 1, true)");
    assert_eq!(of("never_sent"), 1);
}

#[test]
fn the_application_that_is_never_answered_is_ended_and_says_why() {
    let orders = |verb: &str| {
        let mut command = Command::new(repository().join("runbooks/lab/lab"));
        command.args(["orders", verb]).env("ORDERS_PATIENCE", "1");
        lab().known_to(&mut command).output().unwrap()
    };
    // The database `shop` has no orders on either server: none can ever be acknowledged.
    assert!(orders("begin").status.success());
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(lab().path("orders.log"))
        .unwrap_or_default()
        .contains("does not exist")
    {
        assert!(begun.elapsed().as_secs() < 60, "no order was refused");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = orders("end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("not acknowledged after 1 s")
            && said.contains("relation \"orders\" does not exist"),
        "{said}"
    );
    assert!(orders("end").status.success(), "nothing is left to end");
}
