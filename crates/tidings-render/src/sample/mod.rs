//! A sample context for every built-in message type: for previews, tests and as documentation of the shapes.

mod lifecycle;

use serde_json::{Value, json};

/// The sample context of a built-in type; `None` for other types.
pub fn sample(message_type: &str) -> Option<Value> {
    Some(match message_type {
        "welcome" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "link": "https://plans.example.com/p/2741",
            "note": "I loved your idea of long tables under the walnut trees. Let us build the day around them.",
            "planner_name": "Ines Martel",
        }),
        "budget_summary" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "currency": "EUR",
            "total_budget": 42000,
            "link": "https://plans.example.com/p/2741/budget",
            "planner_name": "Ines Martel",
            "budget_allocations": [
                {
                    "name": "Balanced",
                    "summary": "A little of everything, with a reserve for surprises.",
                    "total": 41500,
                    "recommended": true,
                    "allocations": [
                        {"name": "Venue", "amount": 14500},
                        {"name": "Catering", "amount": 13000},
                        {"name": "Photography", "amount": 5200},
                        {"name": "Music", "amount": 3800},
                        {"name": "Flowers", "amount": 3000},
                        {"name": "Reserve", "amount": 2000},
                    ],
                },
                {
                    "name": "Table first",
                    "summary": "A five-course dinner is the heart of the evening.",
                    "total": 42000,
                    "allocations": [
                        {"name": "Catering", "amount": 19000},
                        {"name": "Venue", "amount": 13000},
                        {"name": "Photography", "amount": 4500},
                        {"name": "Music", "amount": 3500},
                        {"name": "Flowers", "amount": 2000},
                    ],
                },
                {
                    "name": "Keepsake",
                    "summary": "Photography and film, for the decades after.",
                    "total": 39800,
                    "allocations": {"venue": 12500, "photography_and_film": 12000, "catering": 10500, "music": 4800},
                },
            ],
        }),
        "vendor_options" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "currency": "EUR",
            "respond_by": "2026-12-04T17:00:00Z",
            "link": "https://plans.example.com/p/2741/vendors",
            "planner_name": "Ines Martel",
            "vendor_combinations": [
                {
                    "name": "The Walnut Garden",
                    "summary": "Everything within ten minutes of the estate.",
                    "total": 38900,
                    "match_percent": 96,
                    "url": "https://plans.example.com/p/2741/vendors/1",
                    "vendors": [
                        {"service": "Venue", "name": "Domaine du Noyer", "price": 14200},
                        {"service": "Catering", "name": "Maison Lune", "price": 15600},
                        {"service": "Photography", "name": "Studio Ardent", "price": 5100},
                        {"service": "Music", "name": "Les Cordes Libres", "price": 4000},
                    ],
                },
                {
                    "name": "City Lights",
                    "summary": "A rooftop, a band and the last tram home.",
                    "total": 41200,
                    "match_percent": 91,
                    "url": "https://plans.example.com/p/2741/vendors/2",
                    "vendors": [
                        {"service": "Venue", "name": "Terrasse Onze", "price": 16800},
                        {"service": "Catering", "name": "Brasserie Fable", "price": 14900},
                        {"service": "Photography", "name": "Noor & Sons", "price": 5300},
                        {"service": "Music", "name": "The Late Set", "price": 4200},
                    ],
                },
            ],
        }),
        "selection_confirmation" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "currency": "EUR",
            "total": 38900,
            "link": "https://plans.example.com/p/2741",
            "planner_name": "Ines Martel",
            "selected_vendors": [
                {"service": "Venue", "name": "Domaine du Noyer", "price": 14200, "contact": "+33 4 50 00 00 10"},
                {"service": "Catering", "name": "Maison Lune", "price": 15600},
                {"service": "Photography", "name": "Studio Ardent", "price": 5100},
                {"service": "Music", "name": "Les Cordes Libres", "price": 4000},
            ],
        }),
        "blueprint_delivery" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "blueprint_url": "https://plans.example.com/p/2741/blueprint.pdf",
            "expires_on": "2027-07-01",
            "planner_name": "Ines Martel",
        }),
        "error_notification" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "plan_id": "PLN-2741",
            "problem": "confirm your booking at Domaine du Noyer",
            "resolution": "Your date is still held for you. We are calling the venue and will write to you by this evening.",
            "reference": "E-58213",
            "link": "https://plans.example.com/p/2741",
            "planner_name": "Ines Martel",
        }),
        "reminder" => json!({
            "client_name": "Amara Okafor",
            "event_type": "wedding",
            "event_date": "2027-06-12",
            "plan_id": "PLN-2741",
            "pending_action": "choose one of the two vendor teams",
            "due": "2026-12-04T17:00:00Z",
            "link": "https://plans.example.com/p/2741/vendors",
            "planner_name": "Ines Martel",
        }),
        "batch" => json!({
            "client_name": "Amara Okafor",
            "items": [
                {
                    "title": "Tasting arranged",
                    "text": "Maison Lune expects you on 14 January at noon.",
                    "link": "https://plans.example.com/p/2741/tasting",
                },
                {"title": "Contract signed", "text": "Studio Ardent has signed and sent its copy."},
                {"title": "Playlist open", "text": "Les Cordes Libres would like your first ten songs."},
            ],
        }),
        "direct" => json!({
            "title": "A question about the seating plan",
            "body": "Hello Amara,\n\nshould the children sit with their parents, or at a table of their own?\n\
                     Both are easy to do.\n\nInes",
        }),
        "sms_opt_out" | "sms_opt_in" | "sms_help" => json!({}),
        _ => return lifecycle::sample(message_type),
    })
}

/// The sample with nothing but what the type requires: the least a request may bring.
pub fn least(message_type: &str) -> Option<Value> {
    let info = crate::message_types::message_type(message_type)?;
    let mut context = sample(message_type)?;
    if let Some(fields) = context.as_object_mut() {
        fields.retain(|name, _| {
            info.variables
                .iter()
                .any(|variable| variable.required && variable.name == name.as_str())
        });
    }
    Some(context)
}
