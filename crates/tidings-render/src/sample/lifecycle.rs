//! Samples of the lifecycle types: one customer of a dealership, over the years.

use serde_json::{Value, json};

const CUSTOMER: &str = "Dana Whitfield";
const EQUIPMENT: &str = "Husqvarna Z254 mower";
const BOOKING: &str = "https://book.example.com/r/7K2M";

/// The sample context of a lifecycle type; `None` for other types.
pub(super) fn sample(message_type: &str) -> Option<Value> {
    Some(match message_type {
        "seven_day_checkin" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "date_sold": "2027-04-16",
            "link": "https://hello.example.com/week-one/7K2M",
            "advisor_name": "Marcus Bell",
        }),
        "post_service_survey" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "work_order_number": "WO-20318",
            "picked_up_on": "2027-05-06T15:40:00-05:00",
            "survey_url": "https://hello.example.com/s/7K2M",
            "advisor_name": "Marcus Bell",
        }),
        "annual_tuneup" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "years": 3,
            "anniversary_on": "2027-04-16",
            "booking_url": BOOKING,
            "advisor_name": "Marcus Bell",
        }),
        "anniversary_offer" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "years": 3,
            "anniversary_on": "2027-04-16",
            "offer": "15% off parts and accessories",
            "offer_expires_on": "2027-05-31",
            "booking_url": BOOKING,
        }),
        "service_reminder" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "last_service_on": "2025-05-12",
            "booking_url": BOOKING,
        }),
        "appointment_confirmation" => json!({
            "customer_name": CUSTOMER,
            "starts_at": "2027-05-20T14:30:00Z",
            "service": "spring service",
            "location": "210 Mill Road",
            "equipment": EQUIPMENT,
            "appointment_id": "A-5127",
            "link": "https://book.example.com/a/5127",
        }),
        "invoice_reminder" => json!({
            "customer_name": CUSTOMER,
            "invoice_number": "INV-10356",
            "amount_due": 1284.5,
            "currency": "USD",
            "due_on": "2027-03-31",
            "days_past_due": 33,
            "payment_url": "https://pay.example.com/i/10356",
        }),
        _ => return outreach(message_type),
    })
}

fn outreach(message_type: &str) -> Option<Value> {
    Some(match message_type {
        "seasonal_reminder" => json!({
            "customer_name": CUSTOMER,
            "season": "spring",
            "equipment_list": [EQUIPMENT, "Stihl FS 91 trimmer", "Kubota BX23 tractor"],
            "offer": "Free blade sharpening",
            "booking_url": BOOKING,
        }),
        "winback_missed_you" => json!({
            "customer_name": CUSTOMER,
            "last_visit_on": "2026-03-18",
            "equipment": EQUIPMENT,
            "offer": "$25 off your next service",
            "offer_expires_on": "2027-06-30",
            "booking_url": BOOKING,
        }),
        "warranty_expiration" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "warranty_end_on": "2027-06-12",
            "days_left": 30,
            "booking_url": BOOKING,
        }),
        "trade_in_alert" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "years_owned": 9,
            "repairs": 6,
            "booking_url": BOOKING,
            "advisor_name": "Marcus Bell",
        }),
        "first_service_alert" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "machine_hours": 21,
            "booking_url": BOOKING,
        }),
        "usage_service_alert" => json!({
            "customer_name": CUSTOMER,
            "equipment": EQUIPMENT,
            "machine_hours": 312,
            "mark_hours": 300,
            "last_service_on": "2026-09-08",
            "booking_url": BOOKING,
        }),
        "educational_content" => json!({
            "customer_name": CUSTOMER,
            "part": 2,
            "equipment": EQUIPMENT,
            "link": "https://tips.example.com/fuel",
        }),
        _ => return None,
    })
}
