//! The catalogue of MySQL and MariaDB.

use super::{
    Catalogue, CatalogueColumn, CatalogueTable, Gathered, MOST_COLUMNS, MOST_INDEX_COLUMNS, MOST_TABLES,
    Scope, TypeClass, budget, word, yes,
};
use crate::database::{Database, RawRow};
use crate::error::SourceError;
use crate::settings::SourceKind;
use crate::statement::{Builder, Parameter, Statement};

const OURS: &str = "TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')";

pub(super) async fn read(database: &Database, scope: &Scope<'_>) -> Result<Catalogue, SourceError> {
    let schema = database
        .fetch(
            statement("SELECT CAST(DATABASE() AS CHAR)", "", "", &Scope::All),
            budget(1),
        )
        .await?;
    let tables = database
        .fetch(
            statement(
                "SELECT TABLE_SCHEMA, TABLE_NAME, CAST(TABLE_TYPE LIKE '%VIEW' AS CHAR), CAST(TABLE_ROWS AS CHAR)
                 FROM information_schema.TABLES",
                "",
                "ORDER BY 1, 2 LIMIT 5001",
                scope,
            ),
            budget(MOST_TABLES),
        )
        .await?;
    let mut gathered = Gathered::new(tables.rows.iter().map(table).collect(), tables.cut);
    let columns = database
        .fetch(
            statement(
                "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, DATA_TYPE, COLLATION_NAME
                 FROM information_schema.COLUMNS",
                "",
                "ORDER BY 1, 2, ORDINAL_POSITION LIMIT 100001",
                scope,
            ),
            budget(MOST_COLUMNS),
        )
        .await?;
    for row in &columns.rows {
        if let Some(table) = gathered.table(word(row, 0), word(row, 1)) {
            table.columns.push(column(row));
        }
    }
    let indexes = database
        .fetch(
            statement(
                "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, CAST(INDEX_NAME = 'PRIMARY' AS CHAR),
                     CAST(NON_UNIQUE = 0 AS CHAR), COLUMN_NAME
                 FROM information_schema.STATISTICS",
                "AND INDEX_TYPE IN ('BTREE', 'HASH') ",
                "ORDER BY 1, 2, 3, SEQ_IN_INDEX LIMIT 100001",
                scope,
            ),
            budget(MOST_INDEX_COLUMNS),
        )
        .await?;
    gathered.indexes(&indexes.rows);
    Ok(Catalogue {
        kind: SourceKind::Mysql,
        default_schema: schema.rows.first().map_or("", |row| word(row, 0)).to_owned(),
        truncated: gathered.truncated || columns.cut,
        tables: gathered.tables,
    })
}

fn statement(head: &str, further: &str, tail: &str, scope: &Scope<'_>) -> Statement {
    let mut builder = Builder::new(SourceKind::Mysql);
    builder.push(head);
    if !tail.is_empty() {
        builder.push(" WHERE ").push(OURS).push(" ").push(further);
        if let Scope::Named(names) = scope {
            builder.push("AND TABLE_NAME IN (");
            builder.each(names.iter(), ", ", |builder, name| {
                builder.bind(Parameter::Text(name.clone()));
            });
            builder.push(") ");
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
        // Only what the account may see is listed at all.
        readable: true,
        approximate_rows: word(row, 3).parse().ok(),
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique: Vec::new(),
        indexed: Vec::new(),
    }
}

fn column(row: &RawRow) -> CatalogueColumn {
    let base = word(row, 5).to_ascii_lowercase();
    let class = match base.as_str() {
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => TypeClass::Text,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => TypeClass::Integer,
        "decimal" | "numeric" => TypeClass::Decimal,
        "float" | "double" => TypeClass::Float,
        "date" => TypeClass::Date,
        "datetime" => TypeClass::LocalTime,
        "timestamp" => TypeClass::Instant,
        "uuid" => TypeClass::Uuid,
        "bit" => TypeClass::Bits,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => TypeClass::Binary,
        _ => TypeClass::Other,
    };
    let collation = word(row, 6);
    CatalogueColumn {
        name: word(row, 2).to_owned(),
        data_type: word(row, 3).to_owned(),
        class,
        nullable: yes(&row[4]),
        ignores_case: collation.ends_with("_ci"),
        cast: base,
    }
}
