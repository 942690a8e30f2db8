//! Bad input to the commands about sources, campaigns and simulations: what is wrong, where, and what to do; the exit code
//! that fits, and never a password.

use crate::world::{Done, World};
use tidings_engine::source::demo::Dealership;

/// Stands in urls; it must stand nowhere else.
const PASSWORD: &str = "correct-horse-9";

fn shop(rest: &str) -> String {
    format!("[[tenants]]\nslug = \"shop\"\nname = \"Corner Shop\"\n\n{rest}\n")
}

fn source(kind: &str, url: &str) -> String {
    shop(&format!(
        "[tenants.source]\nkind = \"{kind}\"\nurl = \"{url}\"\nstatement_timeout_ms = 2000\n"
    ))
}

/// What the command said, which must not be a password.
#[track_caller]
fn discreet(done: Done) -> Done {
    for said in [&done.out, &done.err] {
        assert!(!said.contains(PASSWORD), "a password: {said}");
    }
    done
}

/// Applies a file that must be refused with these words.
#[track_caller]
fn refused(world: &World, text: &str, says: &[&str]) {
    let path = world.write("wrong.toml", text);
    discreet(world.run(&["apply", path.to_str().unwrap()]))
        .exit(3)
        .says(says);
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_named_without_its_password() {
    let world = World::new().await;
    let cases = [
        (
            "postgresql",
            format!("postgres://reader:{PASSWORD}@127.0.0.1:1/dms"),
        ),
        ("mysql", format!("mysql://reader:{PASSWORD}@127.0.0.1:1/dms")),
    ];
    for ((kind, url), campaign) in cases.into_iter().zip(["seven_day_checkin", "annual_tuneup"]) {
        discreet(world.apply(&source(kind, &url)));
        let commands: [&[&str]; 3] = [
            &["source", "check"],
            &["source", "check", "--json"],
            &["source", "check", "--suggest"],
        ];
        for command in commands {
            discreet(world.run(command))
                .exit(1)
                .says(&["127.0.0.1", "no connection", "check"]);
        }
        // A run is tried again, and says why it waits.
        let run = discreet(world.run(&["campaign", "run", campaign, "--json"])).ok();
        let told = &run.json()[0];
        assert_eq!(told["state"], "waiting", "{told}");
        assert!(
            told["last_error"].as_str().unwrap().contains("127.0.0.1"),
            "{told}"
        );
        discreet(world.run(&["explain", "--contact", "1", "--campaign", "seven_day_checkin"]))
            .exit(1)
            .says(&["the source cannot be asked", "127.0.0.1"]);
    }
    let missing = world.folder.join("nothing.db");
    world.apply(&source("sqlite", missing.to_str().unwrap()));
    let done = world.run(&["source", "check"]);
    assert_ne!(done.code, Some(0), "{}", done.out);
    done.says(&["nothing.db"]);
    assert!(!missing.exists(), "looking at a source makes no file");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let world = World::private();
    world.run(&["migrate"]).ok();
    // The private server asks nobody for a password; from its next start on it asks this account, which it does not know.
    let access = find(&world.data_dir(), "pg_hba.conf").unwrap();
    let rules = std::fs::read_to_string(&access).unwrap();
    std::fs::write(&access, format!("local all reader scram-sha-256\n{rules}")).unwrap();
    let settings = access.with_file_name("postgresql.conf");
    let socket = setting(
        &std::fs::read_to_string(settings).unwrap(),
        "unix_socket_directories",
    );
    let url = format!("postgres://reader:{PASSWORD}@localhost/postgres?host={socket}");
    discreet(world.apply(&source("postgresql", &url)));
    discreet(world.run(&["source", "check"]))
        .exit(3)
        .says(&["account", "password", "url"]);
}

/// A file below a folder.
fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|one| one == name) {
            Some(path)
        } else if path.is_dir() {
            find(&path, name)
        } else {
            None
        }
    })
}

/// The last value of a setting.
fn setting(text: &str, name: &str) -> String {
    let line = text.lines().rfind(|line| line.starts_with(name)).unwrap();
    let (_, value) = line.split_once('=').unwrap();
    value.trim().trim_matches('\'').to_owned()
}

/// Customers, their addresses, and machines by these names.
fn mapping(table: &str, date_sold: &str) -> String {
    format!(
        r#"
[tenants.source.mapping.customers]
table = "customers"
columns = {{ customer_id = "customer_id", first_name = "first_name" }}

[tenants.source.mapping.emails]
table = "emails"
columns = {{ email_id = "email_id", customer_id = "customer_id", email = "email" }}

[tenants.source.mapping.equipment]
table = "{table}"
columns = {{ equipment_id = "equipment_id", customer_id = "customer_id", equipment_make = "equipment_make", date_sold = "{date_sold}" }}
"#
    )
}

#[tokio::test]
async fn what_the_mapping_names_wrongly_is_shown_with_what_there_is() {
    let world = World::new().await;
    let file = world.folder.join("dealer.db");
    let made = Dealership::generate(3, 20, jiff::civil::date(2026, 6, 16));
    made.load_sqlite(&file).await.unwrap();
    let with = |mapping: &str| format!("{}\n{mapping}", source("sqlite", file.to_str().unwrap()));

    world.apply(&with(&mapping("equipmnt", "date_sold")));
    let done = world.run(&["source", "check"]).ok();
    for part in [
        "equipmnt: not found",
        "seven_day_checkin",
        "cannot",
        "there is equipment",
    ] {
        assert!(done.out.contains(part), "no \"{part}\" in: {}", done.out);
    }

    world.apply(&with(&mapping("equipment", "date_sol")));
    let done = world.run(&["source", "check"]).ok();
    for part in ["needs equipment.date_sold", "there is date_sold"] {
        assert!(done.out.contains(part), "no \"{part}\" in: {}", done.out);
    }
    // A run that cannot be tells why, at once and in its report.
    let run = world
        .run(&["campaign", "run", "seven_day_checkin", "--json"])
        .ok()
        .json();
    assert_eq!(run[0]["state"], "failed", "{run}");
    let error = run[0]["last_error"].as_str().unwrap();
    assert!(error.contains("date_sol"), "{error}");
}

#[tokio::test]
async fn campaigns_that_are_not_there_are_named() {
    let world = World::new().await;
    world.apply(&shop(""));
    let unknown = "seven_day_chekin";
    world
        .run(&["campaign", "run", unknown])
        .exit(3)
        .says(&["campaign", unknown]);
    world
        .run(&["explain", "--contact", "1", "--campaign", unknown])
        .exit(3)
        .says(&["campaign", unknown]);
    world
        .run(&["campaign", "run", "No Campaign!"])
        .exit(2)
        .says(&["No Campaign!"]);
    world
        .run(&["campaign", "run", "--tenant", "nobody", "seven_day_checkin"])
        .exit(3)
        .says(&["nobody"]);
    let run = uuid();
    world
        .run(&["campaign", "report", "--run", &run])
        .exit(3)
        .says(&[&run]);
    world
        .run(&["campaign", "report", "--run", &run, "--outcome", "lost"])
        .exit(2)
        .says(&["lost", "proposed"]);
    // Without a source there is nothing to look at, and the words say how to name one.
    for command in [&["source", "check"][..], &["source", "check", "--suggest"]] {
        world
            .run(command)
            .exit(3)
            .says(&["shop has no source", "[tenants.source]"]);
    }
}

fn uuid() -> String {
    "01a21484-f72d-700c-a715-54a221def66d".to_owned()
}

#[tokio::test]
async fn a_simulation_wants_days_in_order_and_a_right_policy() {
    let world = World::new().await;
    world.apply(&shop(""));
    let days = ["simulate", "--from", "2026-06-16", "--to", "2026-06-15"];
    world
        .run(&days)
        .exit(2)
        .says(&["--to 2026-06-15", "--from 2026-06-16"]);
    world
        .run(&["simulate", "--from", "16.6.2026", "--to", "2026-06-17"])
        .exit(2)
        .says(&["--from", "16.6.2026"]);
    let diff = |text: &str| {
        let path = world.write("policy.toml", text);
        let days = ["simulate", "--from", "2026-06-16", "--to", "2026-06-16", "--diff"];
        world.run(&[&days[..], &[path.to_str().unwrap()]].concat())
    };
    diff("quiet_hours = [").exit(3).says(&["policy.toml", "line 1"]);
    diff("quiet_hour = []")
        .exit(3)
        .says(&["policy.toml", "quiet_hour", "quiet_hours"]);
    diff("batch_size = \"many\"")
        .exit(3)
        .says(&["policy.toml", "many"]);
    diff("zone = \"Europe/Wien\"")
        .exit(3)
        .says(&["policy.toml", "Europe/Wien"]);
    world
        .run(&[
            "simulate",
            "--from",
            "2026-06-16",
            "--to",
            "2026-06-16",
            "--diff",
            "none.toml",
        ])
        .exit(1)
        .says(&["none.toml", "cannot be read"]);
}

#[tokio::test]
async fn an_apply_file_s_campaigns_and_source_are_checked_before_anything_is_written() {
    let world = World::new().await;
    let own = |due: &str| {
        shop(&format!(
            "[[tenants.campaigns]]\nname = \"own_one\"\ntitle = \"Own\"\npurpose = \"Own.\"\nmessage_type = \"own_one\"\ncategory = \"service\"\nurgency = \"normal\"\nschedule = {{ every = \"day\", hour_utc = 14 }}\nfrom = \"equipment\"\ndue = {due}\n"
        ))
    };
    let changed = |line: &str| {
        shop(&format!(
            "[[tenants.campaigns]]\nname = \"seven_day_checkin\"\n{line}\n"
        ))
    };
    let cases: [(String, &[&str]); 9] = [
        (
            changed("colour = \"red\""),
            &["campaign seven_day_checkin", "colour", "urgency"],
        ),
        (
            changed("urgency = \"panic\""),
            &["campaign seven_day_checkin", "panic", "critical"],
        ),
        (
            changed("due = { rule = \"after\", latest_of = [\"date_sold\"], weeks = 1 }"),
            &["campaign seven_day_checkin", "weeks", "days"],
        ),
        (
            changed("due = { rule = \"after\", latest_of = [\"colour\"], days = 7 }"),
            &["campaign seven_day_checkin", "colour"],
        ),
        (
            own("{ rule = \"hours_after\", instant = \"date_sold\", from_hours = 72, to_hours = 48 }"),
            &["campaign own_one", "hours"],
        ),
        (
            changed("schedule = { every = \"interval\", interval_ms = 5 }"),
            &["campaign seven_day_checkin", "interval_ms", "60000"],
        ),
        (
            shop("[[tenants.campaigns]]\nname = \"own_two\"\nenabled = false\n"),
            &["campaign own_two", "missing field"],
        ),
        (
            shop("[tenants.source]\nkind = \"postgresql\"\nurl = { env = \"NO_SUCH_DMS_URL\" }\n"),
            &["source shop", "NO_SUCH_DMS_URL", "not set"],
        ),
        (
            shop(&format!(
                "[tenants.source]\nkind = \"oracle\"\nurl = \"oracle://reader:{PASSWORD}@db/dms\"\n"
            )),
            &["source shop", "oracle", "postgresql"],
        ),
    ];
    for (text, says) in &cases {
        refused(&world, text, says);
    }
    // Where the whole file cannot be read, the parser shows the line; a url in it may hold a password.
    let typed = shop(&format!(
        "[tenants.source]\nkind = \"postgresql\"\nurl = 'postgres://reader:{PASSWORD}@db/dms\n"
    ));
    refused(&world, &typed, &["wrong.toml"]);
    for url in [
        "reader:{}@db/dms",
        "mysql://reader:{}@db/dms",
        "postgres://reader:{}@db:port/dms",
    ] {
        let url = url.replace("{}", PASSWORD);
        refused(&world, &source("postgresql", &url), &["source shop"]);
    }
    assert_eq!(world.count("SELECT count(*) FROM tenants").await, 0);
}
