//! The documented example: a database that nobody shaped for this, read through its documented mapping.

use crate::campaign::{keys, read, reading};
use crate::place::{Place, everywhere};
use tidings_core::campaign::{Cell, LogicalTable, Row};
use tidings_core::redact::Private;
use tidings_source::Source;

const SQL: &str = include_str!("../../../../docs/examples/landmaschinen.sql");
const MAPPING: &str = include_str!("../../../../docs/examples/landmaschinen.toml");

async fn open(place: &Place) -> Source {
    place.execute(SQL).await;
    place.mapped(MAPPING)
}

fn text(value: &str) -> Cell {
    Cell::Text(Private::new(value.into()))
}

fn malformed(row: &Row, column: &str) -> bool {
    matches!(row.cell(column), Cell::Malformed { .. })
}

#[tokio::test]
async fn the_documented_example_is_read_as_documented() {
    everywhere(async |place| {
        let source = open(place).await;
        let check = source.check().await.unwrap();
        assert!(check.is_ready(), "{:?}", check.problems().collect::<Vec<_>>());

        let definition = reading(
            "equipment",
            r#"related = [
                { name = "last_service", table = "work_orders", by = "equipment_id", take = "latest", column = "picked_up_at" },
                { name = "visits", table = "work_orders", by = "customer_id", take = "count", since = "dropped_off_at", within_days = 30 },
                { name = "owed", table = "invoices", by = "customer_id", take = "latest", column = "amount_due" },
            ]"#,
        );
        let rows = read(&source, &definition, &[]).await.unwrap();
        assert_eq!(keys(&rows), ["01/M-7", "01/T%2F100", "02/S-1", "02/T%2F100"]);

        let tractor = &rows[1];
        assert_eq!(*tractor.cell("date_sold"), Cell::Date("2027-06-08".parse().unwrap()));
        assert_eq!(*tractor.cell("machine_hours"), Cell::Number(12.5));
        assert_eq!(*tractor.cell("last_service"), Cell::Instant("2027-06-12T07:15:00Z".parse().unwrap()));
        assert_eq!(*tractor.cell("visits"), Cell::Number(1.0));
        assert_eq!(*tractor.cell("owed"), Cell::Number(1250.5));
        let lena = tractor.customer.as_ref().unwrap();
        assert_eq!(lena.key, "01/1");
        assert_eq!((lena.cell("first_name"), lena.cell("last_name")), (&text("Lena"), &text("Gruber")));
        assert_eq!((lena.cell("company"), lena.cell("country")), (&Cell::Null, &text("AT")));
        assert_eq!(lena.emails, [Private::new("lena.gruber@example.com".to_owned())]);
        assert_eq!(lena.phones, [Private::new("+1 202 555 0148".to_owned())]);
        assert_eq!(*lena.cell("created_at"), Cell::Instant("1999-05-02T22:00:00Z".parse().unwrap()));

        let mower = &rows[0];
        assert_eq!(*mower.cell("machine_hours"), Cell::Number(1204.0));
        assert!(malformed(mower, "warranty_end_date"), "\"lebenslang\" is no date");
        assert_eq!(*mower.cell("customer.company"), text("Weingut Steiner KG"));
        assert_eq!(*mower.cell("customer.first_name"), Cell::Null);
        assert_eq!(*mower.cell("visits"), Cell::Number(0.0));

        assert!(rows[2].customer.is_none(), "nobody has number 9 in branch 02");
        let other = &rows[3];
        assert!(malformed(other, "date_sold"), "June has no 31st");
        assert_eq!(*other.cell("last_service"), Cell::Null, "it is still there");
        assert_eq!(other.customer.as_ref().unwrap().key, "02/1");

        let rows = read(&source, &reading("customers", ""), &[]).await.unwrap();
        assert_eq!(keys(&rows), ["01/1", "01/2", "02/1"], "who was deleted is not seen");
        let rows = read(&source, &reading("invoices", ""), &[]).await.unwrap();
        let status: Vec<&Cell> = rows.iter().map(|row| row.cell("status")).collect();
        assert_eq!(status, [&text("open"), &text("paid"), &text("cancelled")]);
        let rows = read(&source, &reading("work_orders", ""), &[]).await.unwrap();
        assert_eq!(*rows[0].cell("work_order_number"), text("01-9001"));
        assert_eq!(source.count(LogicalTable::Phones).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn the_made_up_dealership_is_read_on_every_kind_alike() {
    let made = tidings_source::demo::Dealership::generate(3, 120, jiff::civil::date(2027, 6, 15));
    let kept: std::sync::Mutex<Option<Vec<Row>>> = std::sync::Mutex::new(None);
    everywhere(async |place| {
        let loaded = match place.kind {
            tidings_source::SourceKind::Postgresql => made.load_postgresql(&place.url).await,
            tidings_source::SourceKind::Mysql => made.load_mysql(&place.url).await,
            tidings_source::SourceKind::Sqlite => made.load_sqlite(place.url.as_ref()).await,
        };
        loaded.unwrap();
        let mut settings = place.settings();
        settings.schema = None;
        let source = Source::open(&settings, tidings_source::Mapping::identity(), &jiff::tz::TimeZone::UTC).unwrap();
        assert!(source.check().await.unwrap().is_ready());
        let definition = reading(
            "equipment",
            r#"related = [
                { name = "last_service", table = "work_orders", by = "equipment_id", take = "latest", column = "picked_up_at" },
                { name = "repairs", table = "work_orders", by = "equipment_id", take = "count" },
                { name = "lately", table = "work_orders", by = "customer_id", take = "count", since = "dropped_off_at", within_days = 365 },
            ]"#,
        );
        let rows = read(&source, &definition, &[]).await.unwrap();
        assert_eq!(rows.len(), made.equipment.len());
        let mut kept = kept.lock().unwrap();
        match &*kept {
            None => *kept = Some(rows),
            Some(before) => {
                for (row, before) in rows.iter().zip(before) {
                    assert_eq!(row, before);
                }
            }
        }
    })
    .await;
}
