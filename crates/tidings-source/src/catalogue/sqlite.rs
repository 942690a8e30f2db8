//! SQLite's catalogue.

use super::{
    Catalogue, CatalogueColumn, CatalogueTable, Gathered, MOST_COLUMNS, MOST_INDEX_COLUMNS, MOST_TABLES,
    Scope, TypeClass, budget, word, yes,
};
use crate::database::{Database, RawRow};
use crate::error::SourceError;
use crate::settings::SourceKind;
use crate::statement::{Builder, Parameter, Statement};

const COLUMNS: &str =
    "SELECT CAST(m.name AS BLOB), CAST(p.name AS BLOB), CAST(p.type AS BLOB), CAST(p.\"notnull\" AS BLOB),
        CAST(p.pk AS BLOB)
    FROM sqlite_master m, pragma_table_xinfo(m.name) p";
const COLUMNS_TAIL: &str = "AND p.hidden <> 1 ORDER BY m.name, p.cid LIMIT 100001";

pub(super) async fn read(database: &Database, scope: &Scope<'_>) -> Result<Catalogue, SourceError> {
    let tables = "SELECT CAST(m.name AS BLOB), CAST(m.type = 'view' AS BLOB) FROM sqlite_master m";
    let tables = database
        .fetch(
            statement(tables, "ORDER BY m.name LIMIT 5001", scope),
            budget(MOST_TABLES),
        )
        .await?;
    let mut gathered = Gathered::new(tables.rows.iter().map(table).collect(), tables.cut);

    let (columns, cut) = columns(database, scope, &tables.rows).await?;
    for row in &columns {
        if let Some(table) = gathered.table("main", word(row, 0)) {
            table.columns.push(column(row));
        }
    }
    primary_keys(&mut gathered, &columns);

    let indexes = "SELECT CAST('main' AS BLOB), CAST(m.name AS BLOB), CAST(l.name AS BLOB), CAST(0 AS BLOB),
            CAST(l.\"unique\" AND NOT l.partial AS BLOB), CAST(i.name AS BLOB)
        FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i";
    let indexes = database
        .fetch(
            statement(
                indexes,
                "AND m.type = 'table' ORDER BY m.name, l.name, i.seqno LIMIT 100001",
                scope,
            ),
            budget(MOST_INDEX_COLUMNS),
        )
        .await?;
    gathered.indexes(&indexes.rows);
    row_counts(database, &mut gathered).await?;
    Ok(Catalogue {
        kind: SourceKind::Sqlite,
        default_schema: "main".into(),
        truncated: gathered.truncated || cut,
        tables: gathered.tables,
    })
}

/// All at once; a view that does not work any more spoils that, so then one by one.
async fn columns(
    database: &Database,
    scope: &Scope<'_>,
    tables: &[RawRow],
) -> Result<(Vec<RawRow>, bool), SourceError> {
    let all = database
        .fetch(statement(COLUMNS, COLUMNS_TAIL, scope), budget(MOST_COLUMNS))
        .await;
    if let Ok(all) = all {
        return Ok((all.rows, all.cut));
    }
    let mut rows = Vec::new();
    for table in tables {
        let name = [word(table, 0).to_owned()];
        let one = database
            .fetch(
                statement(COLUMNS, COLUMNS_TAIL, &Scope::Named(&name)),
                budget(MOST_COLUMNS),
            )
            .await;
        match one {
            Ok(one) => rows.extend(one.rows),
            Err(error) if error.is_transient() => return Err(error),
            // It stays in the list, without columns.
            Err(_) => {}
        }
        if rows.len() > MOST_COLUMNS {
            return Ok((rows, true));
        }
    }
    Ok((rows, false))
}

fn primary_keys(gathered: &mut Gathered, columns: &[RawRow]) {
    let mut parts: Vec<(&str, u32, &str)> = columns
        .iter()
        .filter_map(|row| Some((word(row, 0), word(row, 4).parse().ok()?, word(row, 1))))
        .filter(|(_, place, _)| *place > 0)
        .collect();
    parts.sort_unstable();
    for (table, _, column) in parts {
        if let Some(table) = gathered.table("main", table) {
            table.primary_key.push(column.to_owned());
        }
    }
    for table in &mut gathered.tables {
        // Such a column is the row's number, which is always there.
        if let [key] = table.primary_key.as_slice()
            && let Some(column) = table.columns.iter_mut().find(|column| column.name == *key)
            && column.data_type.eq_ignore_ascii_case("integer")
        {
            column.nullable = false;
        }
    }
}

/// What ANALYZE once counted, where it ever ran.
async fn row_counts(database: &Database, gathered: &mut Gathered) -> Result<(), SourceError> {
    let mut builder = Builder::new(SourceKind::Sqlite);
    builder.push("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'");
    let analysed = database
        .fetch(builder.finish("reading the catalogue"), budget(1))
        .await?;
    if analysed.rows.is_empty() {
        return Ok(());
    }
    let mut builder = Builder::new(SourceKind::Sqlite);
    builder.push("SELECT CAST(tbl AS BLOB), CAST(stat AS BLOB) FROM sqlite_stat1 LIMIT 20000");
    let counts = database
        .fetch(builder.finish("reading the catalogue"), budget(20_000))
        .await?;
    for row in &counts.rows {
        let count = word(row, 1)
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok());
        if let (Some(table), Some(count)) = (gathered.table("main", word(row, 0)), count) {
            table.approximate_rows = Some(count);
        }
    }
    Ok(())
}

fn statement(head: &str, tail: &str, scope: &Scope<'_>) -> Statement {
    let mut builder = Builder::new(SourceKind::Sqlite);
    builder
        .push(head)
        .push(" WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ");
    if let Scope::Named(names) = scope {
        builder.push("AND lower(m.name) IN (");
        builder.each(names.iter(), ", ", |builder, name| {
            builder
                .push("lower(")
                .bind(Parameter::Text(name.clone()))
                .push(")");
        });
        builder.push(") ");
    }
    builder.push(tail);
    builder.finish("reading the catalogue")
}

fn table(row: &RawRow) -> CatalogueTable {
    CatalogueTable {
        schema: "main".into(),
        name: word(row, 0).to_owned(),
        view: yes(&row[1]),
        readable: true,
        approximate_rows: None,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique: Vec::new(),
        indexed: Vec::new(),
    }
}

/// A declared type says only what SQLite prefers to store; any value may be of any type.
fn column(row: &RawRow) -> CatalogueColumn {
    let declared = word(row, 2).to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    let class = if has("INT") {
        TypeClass::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        TypeClass::Text
    } else if has("BLOB") || declared.is_empty() {
        TypeClass::Binary
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        TypeClass::Float
    } else {
        TypeClass::Decimal
    };
    CatalogueColumn {
        name: word(row, 1).to_owned(),
        data_type: word(row, 2).to_owned(),
        class,
        nullable: !yes(&row[3]),
        ignores_case: false,
        cast: String::new(),
    }
}
