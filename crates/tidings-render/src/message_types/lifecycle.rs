//! The types of the lifecycle campaigns: what a dealership writes over the years after a sale.

use super::{MessageTypeInfo, Variable, needs, takes};
use tidings_core::{Category, Urgency};

const CUSTOMER: Variable = needs("customer_name", "how the reader is addressed");
const EQUIPMENT: Variable = needs(
    "equipment",
    "what it is about, in words: \"Husqvarna Z254 mower\"",
);
const OF_EQUIPMENT: Variable = takes(
    "equipment",
    "what it is about, in words: \"Husqvarna Z254 mower\"",
);
const ADVISOR: Variable = takes("advisor_name", "who signs");
const BOOKING: Variable = takes(
    "booking_url",
    "https address to book on; without it a reply is asked for",
);
const YEARS: Variable = needs("years", "whole years since the purchase");
const ANNIVERSARY: Variable = takes("anniversary_on", "date of the anniversary");
const OFFER: Variable = takes("offer", "what is offered, a few words: \"15% off parts\"");
const OFFER_EXPIRES: Variable = takes("offer_expires_on", "date until which the offer holds");
const LAST_SERVICE: Variable = takes("last_service_on", "date or instant of the last service");
const HOURS: Variable = needs("machine_hours", "what the hour meter shows, a number");

/// The types of the lifecycle campaigns.
pub const LIFECYCLE: &[MessageTypeInfo] = &[
    MessageTypeInfo {
        name: "seven_day_checkin",
        purpose: "How the first week with new equipment went.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            EQUIPMENT,
            takes("date_sold", "date (2027-06-12), instant or words"),
            takes("link", "https address of a page to answer on"),
            ADVISOR,
        ],
    },
    MessageTypeInfo {
        name: "post_service_survey",
        purpose: "How the customer found the work, after a visit to the workshop.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            OF_EQUIPMENT,
            takes("work_order_number", "the work order, as the customer knows it"),
            takes("picked_up_on", "date or instant of the pick-up"),
            takes(
                "survey_url",
                "https address of the questions; without it a short reply is asked for",
            ),
            ADVISOR,
        ],
    },
    MessageTypeInfo {
        name: "annual_tuneup",
        purpose: "The anniversary of the purchase nears: time for the yearly tune-up.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[CUSTOMER, EQUIPMENT, YEARS, ANNIVERSARY, BOOKING, ADVISOR],
    },
    MessageTypeInfo {
        name: "anniversary_offer",
        purpose: "The anniversary of the purchase, with thanks and perhaps an offer.",
        category: Category::Marketing,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            EQUIPMENT,
            YEARS,
            ANNIVERSARY,
            OFFER,
            OFFER_EXPIRES,
            BOOKING,
        ],
    },
    MessageTypeInfo {
        name: "service_reminder",
        purpose: "Two years without a service.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[CUSTOMER, OF_EQUIPMENT, LAST_SERVICE, BOOKING],
    },
    MessageTypeInfo {
        name: "appointment_confirmation",
        purpose: "When and where an appointment is, and how to change it.",
        category: Category::Transactional,
        urgency: Urgency::High,
        detailed: false,
        variables: &[
            CUSTOMER,
            needs("starts_at", "instant with offset; shown in the reader's zone"),
            takes(
                "service",
                "what the appointment is for, as the end of \"for ..\": \"spring service\"",
            ),
            takes("location", "where, in a few words"),
            OF_EQUIPMENT,
            takes("appointment_id", "the reference, as the customer knows it"),
            takes(
                "link",
                "https address where the appointment can be seen or changed",
            ),
        ],
    },
    MessageTypeInfo {
        name: "invoice_reminder",
        purpose: "An invoice is past due.",
        category: Category::Transactional,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CUSTOMER,
            needs("invoice_number", "the invoice, as the customer knows it"),
            needs("amount_due", "what is still to be paid, a number"),
            needs("due_on", "date or instant it was due on"),
            takes(
                "currency",
                "ISO 4217 code of the amount; without it the amount stands alone",
            ),
            takes("days_past_due", "whole days since then"),
            takes("payment_url", "https address to pay on"),
        ],
    },
    MessageTypeInfo {
        name: "seasonal_reminder",
        purpose: "A check before the season begins or ends.",
        category: Category::Marketing,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CUSTOMER,
            needs(
                "season",
                "\"spring\" or \"fall\", each with its own text; others are printed in a general one",
            ),
            takes("equipment_list", "list of what the customer owns, in words"),
            BOOKING,
            OFFER,
        ],
    },
    MessageTypeInfo {
        name: "winback_missed_you",
        purpose: "A customer who has not been in for a year.",
        category: Category::Marketing,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            takes("last_visit_on", "date or instant of the last visit"),
            OF_EQUIPMENT,
            OFFER,
            OFFER_EXPIRES,
            BOOKING,
        ],
    },
    MessageTypeInfo {
        name: "warranty_expiration",
        purpose: "The warranty ends soon.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            EQUIPMENT,
            needs("warranty_end_on", "date or instant of its last day"),
            takes("days_left", "whole days until then"),
            BOOKING,
        ],
    },
    MessageTypeInfo {
        name: "trade_in_alert",
        purpose: "Old equipment, often repaired: keep it or trade it.",
        category: Category::Marketing,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CUSTOMER,
            EQUIPMENT,
            needs("years_owned", "whole years since the purchase"),
            takes("repairs", "how many repairs are on record"),
            BOOKING,
            ADVISOR,
        ],
    },
    MessageTypeInfo {
        name: "first_service_alert",
        purpose: "The hours of the first service have been reached.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[CUSTOMER, EQUIPMENT, HOURS, BOOKING],
    },
    MessageTypeInfo {
        name: "usage_service_alert",
        purpose: "A further mark of machine hours has been passed since the last service.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CUSTOMER,
            EQUIPMENT,
            HOURS,
            needs("mark_hours", "the mark that was passed: 100, 200, .."),
            LAST_SERVICE,
            BOOKING,
        ],
    },
    MessageTypeInfo {
        name: "educational_content",
        purpose: "One of six tips for new owners.",
        category: Category::Marketing,
        urgency: Urgency::Low,
        detailed: true,
        variables: &[
            CUSTOMER,
            needs(
                "part",
                "which tip, 1 to 6; other numbers need tip_title and tip_body",
            ),
            OF_EQUIPMENT,
            takes("tip_title", "the heading, instead of the built-in one"),
            takes(
                "tip_body",
                "plain text instead of the built-in tip; empty lines separate paragraphs",
            ),
            takes("link", "https address to read more on"),
        ],
    },
];
