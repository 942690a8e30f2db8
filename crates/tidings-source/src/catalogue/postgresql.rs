//! PostgreSQL's catalogue.

use super::{
    Catalogue, CatalogueColumn, CatalogueTable, Gathered, MOST_COLUMNS, MOST_INDEX_COLUMNS, MOST_TABLES,
    Scope, TypeClass, budget, word, yes,
};
use crate::database::{Database, RawRow};
use crate::error::SourceError;
use crate::settings::SourceKind;
use crate::statement::{Builder, Parameter, Statement};

/// Tables, views, materialised views, partitioned and foreign tables of people.
const OURS: &str =
    "c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'";

pub(super) async fn read(database: &Database, scope: &Scope<'_>) -> Result<Catalogue, SourceError> {
    let schema = database
        .fetch(
            statement("SELECT CAST(current_schema() AS text)", "", &Scope::All),
            budget(1),
        )
        .await?;
    let tables =
        "SELECT CAST(n.nspname AS text), CAST(c.relname AS text), CAST(c.relkind IN ('v', 'm') AS text),
            CAST(has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') AS text),
            CAST(CAST(c.reltuples AS bigint) AS text)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
    let tables = database
        .fetch(
            statement(tables, "ORDER BY 1, 2 LIMIT 5001", scope),
            budget(MOST_TABLES),
        )
        .await?;
    let mut gathered = Gathered::new(tables.rows.iter().map(table).collect(), tables.cut);

    let columns = "SELECT CAST(n.nspname AS text), CAST(c.relname AS text), CAST(a.attname AS text),
            CAST(pg_catalog.format_type(a.atttypid, a.atttypmod) AS text), CAST(a.attnotnull AS text),
            CAST(b.typname AS text), CAST(b.typtype AS text),
            CAST(coalesce(NOT l.collisdeterministic, false) AS text),
            CAST(pg_catalog.format_type(b.oid, NULL) AS text)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
        LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation";
    let columns = database
        .fetch(
            statement(columns, "ORDER BY 1, 2, a.attnum LIMIT 100001", scope),
            budget(MOST_COLUMNS),
        )
        .await?;
    for row in &columns.rows {
        if let Some(table) = gathered.table(word(row, 0), word(row, 1)) {
            table.columns.push(column(row));
        }
    }

    let indexes = "SELECT CAST(n.nspname AS text), CAST(c.relname AS text), CAST(i.indexrelid AS text),
            CAST(i.indisprimary AS text), CAST(i.indisunique AND i.indpred IS NULL AS text), CAST(a.attname AS text)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid
        CROSS JOIN LATERAL unnest(CAST(i.indkey AS int2[])) WITH ORDINALITY AS k (attnum, place)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0";
    let indexes = database
        .fetch(
            statement(
                indexes,
                "AND k.place <= i.indnkeyatts ORDER BY 1, 2, i.indexrelid, k.place LIMIT 100001",
                scope,
            ),
            budget(MOST_INDEX_COLUMNS),
        )
        .await?;
    gathered.indexes(&indexes.rows);
    Ok(Catalogue {
        kind: SourceKind::Postgresql,
        default_schema: schema
            .rows
            .first()
            .map(|row| word(row, 0))
            .filter(|schema| !schema.is_empty())
            .unwrap_or("public")
            .to_owned(),
        truncated: gathered.truncated || columns.cut,
        tables: gathered.tables,
    })
}

fn statement(head: &str, tail: &str, scope: &Scope<'_>) -> Statement {
    let mut builder = Builder::new(SourceKind::Postgresql);
    builder.push(head);
    if !tail.is_empty() {
        builder.push(" WHERE ").push(OURS).push(" ");
        if let Scope::Named(names) = scope {
            let names = names.iter().map(|name| name.to_lowercase()).collect();
            builder
                .push("AND lower(c.relname) = ANY(")
                .bind(Parameter::Texts(names))
                .push(") ");
        }
        builder.push(tail);
    }
    builder.finish("reading the catalogue")
}

fn table(row: &RawRow) -> CatalogueTable {
    CatalogueTable {
        schema: word(row, 0).to_owned(),
        name: word(row, 1).to_owned(),
        view: yes(&row[2]),
        readable: yes(&row[3]),
        // -1 before the first ANALYZE; 0 of views.
        approximate_rows: word(row, 4).parse().ok().filter(|_| !yes(&row[2])),
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique: Vec::new(),
        indexed: Vec::new(),
    }
}

fn column(row: &RawRow) -> CatalogueColumn {
    let (base, kind) = (word(row, 5), word(row, 6));
    let class = match base {
        "text" | "varchar" | "bpchar" | "name" | "citext" => TypeClass::Text,
        "int2" | "int4" | "int8" => TypeClass::Integer,
        "numeric" => TypeClass::Decimal,
        "float4" | "float8" => TypeClass::Float,
        "bool" => TypeClass::Boolean,
        "date" => TypeClass::Date,
        "timestamp" => TypeClass::LocalTime,
        "timestamptz" => TypeClass::Instant,
        "uuid" => TypeClass::Uuid,
        "bytea" => TypeClass::Binary,
        _ => TypeClass::Other,
    };
    let cast = match base {
        "varchar" | "text" => "text".to_owned(),
        // A cast to `character` would cut everything after the first letter.
        "bpchar" => "bpchar".to_owned(),
        // Comparing with the wider type still uses an index, and no number is out of range.
        "int2" | "int4" | "int8" => "bigint".to_owned(),
        _ => word(row, 8).to_owned(),
    };
    CatalogueColumn {
        name: word(row, 2).to_owned(),
        data_type: word(row, 3).to_owned(),
        // Enumerations and the like are compared as what they are.
        class: if kind == "e" { TypeClass::Other } else { class },
        nullable: !yes(&row[4]),
        ignores_case: yes(&row[7]) || base == "citext",
        cast,
    }
}
