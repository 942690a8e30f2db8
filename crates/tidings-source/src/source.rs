//! A source: a tenant's own database, read only, through its mapping.

use crate::catalogue::{self, Catalogue, Scope};
use crate::check::{MappingCheck, check_mapping};
use crate::customers::Customers;
use crate::database::{Budget, Database};
use crate::dialect;
use crate::error::{SourceError, SourceErrorCategory};
use crate::filters;
use crate::key;
use crate::mapping::Mapping;
use crate::pages::{Pages, Reading};
use crate::plan::Plan;
use crate::settings::SourceSettings;
use crate::statement::Builder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::campaign::{Bound, Customer, Definition, LogicalTable, Row};
use tokio::sync::Mutex;

/// Rows of one customer that `explain` looks at.
const ROWS_OF_CUSTOMER: usize = 200;
/// Rows of a sample.
const MOST_SAMPLED: usize = 200;
/// A database that was changed is looked at again after so long.
const PLAN_AGE: Duration = Duration::from_mins(1);

/// A tenant's own database. It connects when it is first asked, with at most two connections; dropping closes them.
pub struct Source {
    database: Arc<Database>,
    mapping: Mapping,
    zone: TimeZone,
    plan: Mutex<Option<(Arc<Plan>, Instant)>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("access", self.database.access())
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Checks the settings; nothing is connected yet. `zone` is the tenant's: what times without a zone mean where the
    /// settings say nothing.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn open(settings: &SourceSettings, mapping: Mapping, zone: &TimeZone) -> Result<Self, SourceError> {
        let access = settings.check()?;
        let zone = access.zone.clone().unwrap_or_else(|| zone.clone());
        Ok(Self {
            database: Arc::new(Database::new(access)),
            mapping,
            zone,
            plan: Mutex::new(None),
        })
    }

    /// Where it is, without account and password; for messages.
    pub fn place(&self) -> &str {
        self.database.access().place()
    }

    /// What the database says about itself.
    ///
    /// # Errors
    /// When it cannot be reached or read.
    pub async fn introspect(&self) -> Result<Catalogue, SourceError> {
        catalogue::read(&self.database, Scope::All).await
    }

    /// What of the mapping is there.
    ///
    /// # Errors
    /// When the database cannot be reached or read; what is missing is part of the answer.
    pub async fn check(&self) -> Result<MappingCheck, SourceError> {
        Ok(check_mapping(&self.introspect().await?, &self.mapping))
    }

    /// Begins to read a campaign's table, from the beginning or after a key that an earlier page ended with. Rows that are
    /// out of a bound are left out where the database can tell.
    ///
    /// # Errors
    /// When a table or column that is needed is not there, or the database cannot be reached.
    pub async fn pages(
        &self,
        definition: &Definition,
        as_of: Timestamp,
        bounds: &[Bound],
        after: Option<&str>,
    ) -> Result<Pages, SourceError> {
        let reading = self.reading(definition, as_of).await?;
        Pages::new(self.database.clone(), reading, bounds.to_vec(), after)
    }

    /// The rows of a campaign's table that belong to a customer, whatever their dates; at most 200.
    ///
    /// # Errors
    /// As for [`Source::pages`].
    pub async fn rows_of_customer(
        &self,
        definition: &Definition,
        as_of: Timestamp,
        customer_key: &str,
    ) -> Result<Vec<Row>, SourceError> {
        let reading = self.reading(definition, as_of).await?;
        let rows = reading
            .some(&self.database, Some(customer_key), ROWS_OF_CUSTOMER)
            .await;
        self.noted(rows).await
    }

    /// The first rows of a campaign's table; at most 200.
    ///
    /// # Errors
    /// As for [`Source::pages`].
    pub async fn sample(
        &self,
        definition: &Definition,
        as_of: Timestamp,
        limit: usize,
    ) -> Result<Vec<Row>, SourceError> {
        let reading = self.reading(definition, as_of).await?;
        let rows = reading.some(&self.database, None, limit.min(MOST_SAMPLED)).await;
        self.noted(rows).await
    }

    /// The customer of a key; none when there is none.
    ///
    /// # Errors
    /// As for [`Source::pages`].
    pub async fn customer(&self, key: &str) -> Result<Option<Arc<Customer>>, SourceError> {
        let customers = Customers::resolve(&*self.plan().await?)?;
        let parts = key::split(key, customers.table.key.len());
        let normal = parts.and_then(|parts| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            customers.normal(&parts)
        });
        let Some(normal) = normal else {
            return Ok(None);
        };
        let found = customers
            .load(&self.database, std::slice::from_ref(&normal))
            .await;
        Ok(self.noted(found).await?.remove(&normal))
    }

    /// How many rows a table has that pass its filter.
    ///
    /// # Errors
    /// As for [`Source::pages`].
    pub async fn count(&self, table: LogicalTable) -> Result<u64, SourceError> {
        let plan = self.plan().await?;
        let table = plan.required(table)?;
        let mut builder = Builder::new(table.kind);
        builder.push("SELECT ");
        dialect::count(&mut builder, "*");
        builder.push(" FROM ").push(&table.sql).push(" WHERE ");
        filters::filters(&mut builder, table);
        let statement = builder.finish(format!("counting {}", table.shown));
        let budget = Budget { rows: 1, bytes: 1024 };
        let counted = self.database.fetch(statement, budget).await;
        let fetched = self.noted(counted).await?;
        let count = fetched.rows.first().and_then(|row| row[0].text()?.parse().ok());
        count.ok_or_else(|| SourceError::new(SourceErrorCategory::Internal, "the database counted no number"))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn reading(&self, definition: &Definition, as_of: Timestamp) -> Result<Reading, SourceError> {
        let plan = self.plan().await?;
        Reading::resolve(&plan, definition, as_of, &self.zone)
    }

    async fn plan(&self) -> Result<Arc<Plan>, SourceError> {
        let mut kept = self.plan.lock().await;
        if let Some((plan, since)) = &*kept
            && since.elapsed() < PLAN_AGE
        {
            return Ok(plan.clone());
        }
        let names: Vec<String> = if self.mapping.is_identity() {
            LogicalTable::ALL
                .iter()
                .map(|table| table.as_str().to_owned())
                .collect()
        } else {
            self.mapping
                .tables()
                .map(|(_, mapped)| mapped.table.name.clone())
                .collect()
        };
        let catalogue = catalogue::read(&self.database, Scope::Named(&names)).await?;
        let plan = Arc::new(Plan::resolve(&catalogue, &self.mapping, &self.zone));
        *kept = Some((plan.clone(), Instant::now()));
        Ok(plan)
    }

    /// When something turns out to be gone, the database is looked at again next time.
    async fn noted<T>(&self, done: Result<T, SourceError>) -> Result<T, SourceError> {
        if let Err(error) = &done
            && matches!(
                error.category,
                SourceErrorCategory::MissingTable | SourceErrorCategory::MissingColumn
            )
        {
            *self.plan.lock().await = None;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tidings_core::campaign::LogicalTable;

    fn may_move<T: Send>(_: T) {}

    /// Never run: that it compiles is what it says.
    async fn readings_may_move_between_threads(source: &Source, definition: &Definition) {
        may_move(source.check());
        may_move(source.customer("1"));
        may_move(source.count(LogicalTable::Sales));
        may_move(source.rows_of_customer(definition, Timestamp::UNIX_EPOCH, "1"));
        let mut pages = source
            .pages(definition, Timestamp::UNIX_EPOCH, &[], None)
            .await
            .unwrap();
        may_move(pages.next_page());
        may_move(pages);
    }

    #[test]
    fn a_source_is_shown_without_its_password() {
        let _ = readings_may_move_between_threads;
        let settings = toml::from_str("kind = \"mysql\"\nurl = \"mysql://reader:hunter2@db/shop\"").unwrap();
        let source = Source::open(&settings, Mapping::identity(), &TimeZone::UTC).unwrap();
        let shown = format!("{source:?} {}", source.place());
        assert!(
            shown.contains("db:3306/shop") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
