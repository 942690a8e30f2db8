//! A dealership that does not exist, for demonstrations, tests and measurements: the same seed makes the same people,
//! machines and days, and a loader writes them into a database of any kind, under the logical names.

mod generate;
mod load;
mod names;
mod tables;

use jiff::Timestamp;
use jiff::civil::Date;
use tidings_core::redact::Private;

/// Everything the dealership knows. Its e-mail addresses are of `example.com` and `example.org`, its phone numbers of the
/// ranges that are set aside for stories.
#[derive(Clone, Debug, Default)]
pub struct Dealership {
    /// Who bought.
    pub customers: Vec<DemoCustomer>,
    /// Their e-mail addresses; some have none, some have two, some are misspelt.
    pub emails: Vec<DemoAddress>,
    /// Their phone numbers.
    pub phones: Vec<DemoAddress>,
    /// Machines; a few belong to nobody who is known.
    pub equipment: Vec<DemoMachine>,
    /// Repairs and services, most of them in spring and autumn.
    pub work_orders: Vec<DemoWorkOrder>,
    /// Sales.
    pub sales: Vec<DemoSale>,
    /// Agreed dates, around the day it was made for.
    pub appointments: Vec<DemoAppointment>,
    /// Invoices.
    pub invoices: Vec<DemoInvoice>,
}

/// A customer.
#[derive(Clone, Debug)]
pub struct DemoCustomer {
    /// From 1 on.
    pub id: i64,
    /// First name.
    pub first_name: Private<String>,
    /// Last name.
    pub last_name: Private<String>,
    /// Company, where it is one.
    pub company: Option<Private<String>>,
    /// One of three zones.
    pub zone: &'static str,
    /// Language.
    pub locale: &'static str,
    /// Preferred channel, where one is known.
    pub preferred_channel: Option<&'static str>,
    /// Wants no e-mail.
    pub opt_out_email: bool,
    /// Wants no text messages.
    pub opt_out_sms: bool,
    /// Has agreed to marketing; none when never asked.
    pub marketing_consent: Option<bool>,
    /// Customer since.
    pub created_at: Timestamp,
}

/// An e-mail address or phone number.
#[derive(Clone, Debug)]
pub struct DemoAddress {
    /// From 1 on.
    pub id: i64,
    /// Whose.
    pub customer: i64,
    /// As it was typed.
    pub address: Private<String>,
    /// The one to use first.
    pub primary: bool,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct DemoMachine {
    /// From 1 on.
    pub id: i64,
    /// Whose.
    pub customer: i64,
    /// Kind.
    pub kind: &'static str,
    /// Make.
    pub make: &'static str,
    /// Model.
    pub model: &'static str,
    /// Sold on; unknown for some.
    pub sold: Option<Date>,
    /// Hours on the meter.
    pub hours: Option<f64>,
    /// End of the warranty as somebody typed it: mostly a date.
    pub warranty_end: Option<String>,
}

/// A repair or service.
#[derive(Clone, Debug)]
pub struct DemoWorkOrder {
    /// From 1 on.
    pub id: i64,
    /// Whose.
    pub customer: i64,
    /// Which machine.
    pub machine: i64,
    /// When it came in.
    pub dropped_off: Timestamp,
    /// When it was done; not yet for some.
    pub completed: Option<Timestamp>,
    /// When it was fetched; not yet for some.
    pub picked_up: Option<Timestamp>,
    /// Hours on the meter.
    pub hours: Option<f64>,
    /// Where it stands.
    pub status: &'static str,
}

/// A sale.
#[derive(Clone, Debug)]
pub struct DemoSale {
    /// From 1 on.
    pub id: i64,
    /// To whom.
    pub customer: i64,
    /// Of which machine.
    pub machine: i64,
    /// When.
    pub sold: Date,
}

/// An agreed date.
#[derive(Clone, Debug)]
pub struct DemoAppointment {
    /// From 1 on.
    pub id: i64,
    /// With whom.
    pub customer: i64,
    /// About which machine.
    pub machine: Option<i64>,
    /// When.
    pub starts: Timestamp,
    /// What for.
    pub service: &'static str,
    /// Where.
    pub location: &'static str,
    /// Where it stands.
    pub status: &'static str,
}

/// An invoice.
#[derive(Clone, Debug)]
pub struct DemoInvoice {
    /// From 1 on.
    pub id: i64,
    /// To whom.
    pub customer: i64,
    /// Last day to pay.
    pub due: Date,
    /// In cents.
    pub amount_cents: i64,
    /// When it was paid.
    pub paid: Option<Timestamp>,
    /// Where it stands.
    pub status: &'static str,
}

impl Dealership {
    /// How many rows there are in all tables.
    pub fn rows(&self) -> usize {
        self.customers.len()
            + self.emails.len()
            + self.phones.len()
            + self.equipment.len()
            + self.work_orders.len()
            + self.sales.len()
            + self.appointments.len()
            + self.invoices.len()
    }
}
