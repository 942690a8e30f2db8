//! Making up a dealership.

use super::names::{AREAS, COMPANIES, FIRST, LAST, LOCATIONS, MACHINES, SERVICES, ZONES};
use super::{
    Dealership, DemoAddress, DemoAppointment, DemoCustomer, DemoInvoice, DemoMachine, DemoSale, DemoWorkOrder,
};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tidings_core::dice::Dice;
use tidings_core::redact::Private;

/// Machines were sold from so many days before on.
const YEARS_OF_SALES: u64 = 12;

/// More customers than this are not made.
pub const MOST_CUSTOMERS: usize = 1_000_000;

impl Dealership {
    /// Makes up a dealership around a day: the same seed, number and day make the same one. The first customers are made so
    /// that every kind of campaign finds somebody; the others are spread over years.
    pub fn generate(seed: u64, customers: usize, as_of: Date) -> Self {
        let mut maker = Maker {
            dice: Dice::from_seed(seed),
            as_of,
            made: Self::default(),
        };
        for number in 0..customers.min(MOST_CUSTOMERS) {
            maker.customer(number);
            maker.planted(number);
        }
        maker.made
    }
}

struct Maker {
    dice: Dice,
    as_of: Date,
    made: Dealership,
}

fn next_id<T>(rows: &[T]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX - 1) + 1
}

impl Maker {
    fn one_in(&mut self, times: u64) -> bool {
        self.dice.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.dice.below(from.len() as u64)).unwrap_or(0)]
    }

    /// A day some days before.
    fn before(&self, days: u64) -> Date {
        let span = i64::try_from(days).unwrap_or(0).days();
        self.as_of.checked_sub(span).unwrap_or(self.as_of)
    }

    fn after(&self, days: u64) -> Date {
        let span = i64::try_from(days).unwrap_or(0).days();
        self.as_of.checked_add(span).unwrap_or(self.as_of)
    }

    /// A moment of a working day.
    fn moment(&mut self, day: Date) -> Timestamp {
        let hour = 8 + i8::try_from(self.dice.below(9)).unwrap_or(0);
        let minute = i8::try_from(self.dice.below(12) * 5).unwrap_or(0);
        at(day, hour, minute)
    }

    fn customer(&mut self, number: usize) {
        let id = next_id(&self.made.customers);
        let (first, last) = (self.pick(&FIRST), self.pick(&LAST));
        let company = self.one_in(9).then(|| self.pick(&COMPANIES));
        let since = self.dice.below(YEARS_OF_SALES * 365);
        let created = self.before(since);
        let customer = DemoCustomer {
            id,
            first_name: Private::new(first.to_owned()),
            last_name: Private::new(last.to_owned()),
            company: company.map(|company| Private::new(company.to_owned())),
            zone: self.pick(&ZONES),
            locale: if self.one_in(12) { "es" } else { "en" },
            preferred_channel: match self.dice.below(6) {
                0 => Some("sms"),
                1 | 2 => Some("email"),
                _ => None,
            },
            opt_out_email: self.one_in(25),
            opt_out_sms: self.one_in(15),
            marketing_consent: match self.dice.below(10) {
                0..6 => Some(true),
                6..8 => Some(false),
                _ => None,
            },
            created_at: self.moment(created),
        };
        self.made.customers.push(customer);
        // Those that campaigns must find can be reached.
        let planted = number < PLANTED;
        self.emails(id, first, last, planted);
        self.phone(id, number, planted);
        let machines = match self.dice.below(20) {
            0..3 => 0,
            3..18 => 1,
            _ => 2,
        };
        for _ in 0..machines {
            self.machine(id, since);
        }
        if self.one_in(2) {
            self.invoice(id);
        }
        if self.one_in(12) {
            self.appointment(id);
        }
    }

    fn emails(&mut self, customer: i64, first: &str, last: &str, must: bool) {
        if !must && self.one_in(14) {
            return;
        }
        let name = format!("{first}.{last}").to_lowercase().replace('\'', "");
        let host = if self.one_in(3) {
            "example.org"
        } else {
            "example.com"
        };
        let address = match self.dice.below(60) {
            0 if !must => format!("{name}.{customer}(at){host}"),
            1 if !must => "see file".to_owned(),
            _ => format!("{name}.{customer}@{host}"),
        };
        self.email(customer, address, true);
        if self.one_in(15) {
            self.email(customer, format!("office.{customer}@example.org"), false);
        }
    }

    fn email(&mut self, customer: i64, address: String, primary: bool) {
        let id = next_id(&self.made.emails);
        self.made.emails.push(DemoAddress {
            id,
            customer,
            address: Private::new(address),
            primary,
        });
    }

    /// There are so many numbers that belong to nobody, and no two people share one. Those below 20 are left out: the sandbox
    /// makes its faults by them.
    fn phone(&mut self, customer: i64, number: usize, must: bool) {
        let missing = self.one_in(8) && !must;
        if missing || number >= AREAS.len() * 80 {
            return;
        }
        let (area, last) = (AREAS[number % AREAS.len()], 20 + number / AREAS.len());
        let address = match self.dice.below(40) {
            0 if !must => "n/a".to_owned(),
            1..20 => format!("({area}) 555-01{last:02}"),
            _ => format!("+1{area}55501{last:02}"),
        };
        let id = next_id(&self.made.phones);
        self.made.phones.push(DemoAddress {
            id,
            customer,
            address: Private::new(address),
            primary: true,
        });
    }

    fn machine(&mut self, customer: i64, known_days: u64) {
        let days = self.dice.below(known_days + 1);
        let sold = self.before(days);
        let unknown = self.one_in(70);
        // A few were entered for a customer who was deleted since.
        let owner = if self.one_in(400) {
            customer + 50_000_000
        } else {
            customer
        };
        let machine = self.add_machine(owner, (!unknown).then_some(sold), None);
        let repairs = self.dice.below(3) + u64::from(self.one_in(9)) * 3;
        for _ in 0..repairs {
            let ago = self.dice.below(days + 1);
            self.repair(customer, machine, ago);
        }
    }

    fn add_machine(&mut self, customer: i64, sold: Option<Date>, hours: Option<f64>) -> i64 {
        let (kind, make, model, meter) = self.pick(&MACHINES);
        let age = sold.map_or(0, |sold| (self.as_of - sold).get_days());
        let used = (0.02 + self.dice.fraction() * 0.18) * f64::from(age);
        let hours = hours.or_else(|| meter.then_some((used * 10.0).round() / 10.0));
        let ends = sold.and_then(|sold| sold.checked_add(3.years()).ok());
        let warranty_end = match self.dice.below(200) {
            0 => Some("lifetime".to_owned()),
            1 => ends.map(|ends| ends.strftime("%d/%m/%Y").to_string()),
            2..10 => None,
            _ => ends.map(|ends| ends.to_string()),
        };
        let id = next_id(&self.made.equipment);
        self.made.equipment.push(DemoMachine {
            id,
            customer,
            kind,
            make,
            model,
            sold,
            hours,
            warranty_end,
        });
        if let Some(sold) = sold {
            let id_of_sale = next_id(&self.made.sales);
            self.made.sales.push(DemoSale {
                id: id_of_sale,
                customer,
                machine: id,
                sold,
            });
        }
        id
    }

    /// Most repairs are brought in spring and autumn.
    fn repair(&mut self, customer: i64, machine: i64, days_ago: u64) {
        let mut day = self.before(days_ago);
        if !matches!(day.month(), 3..=5 | 9..=11) && self.dice.below(3) > 0 {
            let moved = day
                .with()
                .month(if day.month() < 7 { 4 } else { 10 })
                .day(15)
                .build();
            day = moved.unwrap_or(day).min(self.as_of);
        }
        let dropped_off = self.moment(day);
        let open = self.one_in(40);
        let days = self.dice.below(9);
        let picked_up = day
            .checked_add(i64::try_from(days).unwrap_or(0).days())
            .ok()
            .filter(|day| !open && *day < self.as_of)
            .map(|day| self.moment(day).max(dropped_off));
        self.work_order(customer, machine, dropped_off, picked_up, None);
    }

    fn work_order(
        &mut self,
        customer: i64,
        machine: i64,
        dropped_off: Timestamp,
        picked_up: Option<Timestamp>,
        hours: Option<f64>,
    ) {
        let id = next_id(&self.made.work_orders);
        self.made.work_orders.push(DemoWorkOrder {
            id,
            customer,
            machine,
            dropped_off,
            completed: picked_up,
            picked_up,
            hours,
            status: if picked_up.is_some() { "closed" } else { "open" },
        });
    }

    fn invoice(&mut self, customer: i64) {
        let days = self.dice.below(700);
        let due = self.before(days);
        let paid = (!self.one_in(30)).then(|| at(due, 15, 0));
        self.add_invoice(customer, due, paid);
    }

    fn add_invoice(&mut self, customer: i64, due: Date, paid: Option<Timestamp>) {
        let id = next_id(&self.made.invoices);
        let amount_cents = 1_900 + i64::try_from(self.dice.below(180_000)).unwrap_or(0);
        self.made.invoices.push(DemoInvoice {
            id,
            customer,
            due,
            amount_cents,
            paid,
            status: if paid.is_some() { "paid" } else { "open" },
        });
    }

    fn appointment(&mut self, customer: i64) {
        let distance = self.dice.below(40);
        let day = if self.one_in(2) {
            self.before(distance)
        } else {
            self.after(distance)
        };
        let starts = self.moment(day);
        let cancelled = self.one_in(10);
        self.add_appointment(customer, starts, if cancelled { "cancelled" } else { "booked" });
    }

    fn add_appointment(&mut self, customer: i64, starts: Timestamp, status: &'static str) {
        let id = next_id(&self.made.appointments);
        let machine = self
            .made
            .equipment
            .last()
            .filter(|machine| machine.customer == customer);
        let appointment = DemoAppointment {
            id,
            customer,
            machine: machine.map(|machine| machine.id),
            starts,
            service: self.pick(&SERVICES),
            location: self.pick(&LOCATIONS),
            status,
        };
        self.made.appointments.push(appointment);
    }

    /// What every campaign looks for, once or twice each.
    fn planted(&mut self, number: usize) {
        let customer = next_id(&self.made.customers) - 1;
        let years_before = |years: i32, ahead: u64, maker: &Self| {
            let day = maker.after(ahead);
            day.checked_sub(years.years()).unwrap_or(day)
        };
        match number {
            0 | 1 => drop(self.add_machine(customer, Some(self.before(7)), Some(2.0))),
            2 | 3 => {
                let machine = self.add_machine(customer, Some(self.before(900)), None);
                let picked_up = at(self.before(3), 16, 0);
                self.work_order(
                    customer,
                    machine,
                    at(self.before(6), 9, 0),
                    Some(picked_up),
                    Some(140.0),
                );
            }
            4 => drop(self.add_machine(customer, Some(years_before(2, 14, self)), None)),
            5 => drop(self.add_machine(customer, Some(years_before(4, 7, self)), None)),
            6 => drop(self.add_machine(customer, Some(years_before(2, 0, self)), None)),
            7 | 8 => {
                self.add_machine(customer, Some(self.before(500)), None);
                for hour in [9, 11, 14, 16] {
                    self.add_appointment(customer, at(self.after(1), hour, 30), "booked");
                }
            }
            9 => self.add_invoice(customer, self.before(30), None),
            10 => self.add_invoice(customer, self.before(45), None),
            11 => {
                let machine = self.add_machine(customer, Some(self.before(1500)), None);
                self.repair(customer, machine, 420);
            }
            12 => {
                self.add_machine(customer, Some(years_before(3, 30, self)), None);
                if let Some(machine) = self.made.equipment.last_mut() {
                    machine.warranty_end = Some(
                        self.as_of
                            .checked_add(30.days())
                            .unwrap_or(self.as_of)
                            .to_string(),
                    );
                }
            }
            13 => {
                let machine = self.add_machine(customer, Some(self.before(3200)), Some(1800.0));
                for ago in [100, 300, 500, 700, 900, 1100] {
                    self.repair(customer, machine, ago);
                }
            }
            14 => drop(self.add_machine(customer, Some(self.before(60)), Some(24.5))),
            15 => {
                let machine = self.add_machine(customer, Some(self.before(800)), Some(318.0));
                let picked_up = at(self.before(200), 15, 0);
                self.work_order(
                    customer,
                    machine,
                    at(self.before(204), 9, 0),
                    Some(picked_up),
                    Some(190.0),
                );
            }
            _ => {}
        }
    }
}

/// So many customers are planted.
const PLANTED: usize = 16;

/// Hours as the dealership's clock shows them, six hours behind UTC.
fn at(day: Date, hour: i8, minute: i8) -> Timestamp {
    let local = day.at(hour, minute, 0, 0);
    let zone = TimeZone::fixed(jiff::tz::offset(-6));
    local
        .to_zoned(zone)
        .map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::collections::HashSet;

    fn day() -> Date {
        jiff::civil::date(2027, 6, 15)
    }

    #[test]
    fn the_same_seed_makes_the_same_dealership() {
        let one = format!("{:?}", Dealership::generate(7, 200, day()));
        assert_eq!(one, format!("{:?}", Dealership::generate(7, 200, day())));
        assert_ne!(one, format!("{:?}", Dealership::generate(8, 200, day())));
        assert!(
            !one.contains("example.com"),
            "personal data, even of nobody, is not shown"
        );
    }

    #[test]
    fn nobody_real_can_be_reached() {
        let made = Dealership::generate(1, 20_000, day());
        for email in &made.emails {
            let address = email.address.expose();
            let reserved = [
                "@example.com",
                "@example.org",
                "(at)example.com",
                "(at)example.org",
                "see file",
            ];
            assert!(reserved.iter().any(|end| address.ends_with(end)), "{address}");
        }
        let mut numbers = HashSet::new();
        for phone in made.phones.iter().filter(|phone| phone.address.expose() != "n/a") {
            let number =
                tidings_core::address::PhoneNumber::parse(phone.address.expose(), Some("US")).unwrap();
            assert!(number.as_str()[5..].starts_with("55501"), "{}", number.as_str());
            assert!(numbers.insert(number.as_str().to_owned()));
        }
        assert!(numbers.len() > 10_000);
    }

    #[test]
    fn every_table_has_rows_and_some_of_them_are_odd() {
        let made = Dealership::generate(1, 5_000, day());
        assert!(made.rows() > 15_000, "{}", made.rows());
        let emails: HashSet<i64> = made.emails.iter().map(|email| email.customer).collect();
        let customers: HashSet<i64> = made.customers.iter().map(|customer| customer.id).collect();
        assert!(emails.len() < customers.len(), "some have no e-mail");
        assert!(
            made.equipment
                .iter()
                .any(|machine| !customers.contains(&machine.customer))
        );
        assert!(made.equipment.iter().any(|machine| machine.sold.is_none()));
        assert!(
            made.equipment
                .iter()
                .any(|machine| machine.warranty_end.as_deref() == Some("lifetime"))
        );
        assert!(
            made.equipment
                .iter()
                .any(|machine| machine.sold == Some(made_before(7)))
        );
        assert!(made.appointments.iter().any(|one| one.status == "cancelled"));
        assert!(
            made.customers
                .iter()
                .map(|one| one.zone)
                .collect::<HashSet<_>>()
                .len()
                == 3
        );
        assert!(
            made.work_orders
                .iter()
                .all(|order| order.picked_up.is_none_or(|at| at >= order.dropped_off))
        );
    }

    fn made_before(days: i64) -> Date {
        day().checked_sub(days.days()).unwrap()
    }
}
