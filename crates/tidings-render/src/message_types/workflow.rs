//! The types of the planning workflow, and those every program needs.

use super::{MessageTypeInfo, Variable, needs, takes};
use tidings_core::{Category, Urgency};

const CLIENT: Variable = needs("client_name", "how the reader is addressed");
const EVENT: Variable = needs(
    "event_type",
    "the kind of event, in words: \"wedding\", \"company retreat\"",
);
const DATE: Variable = takes(
    "event_date",
    "date (2027-06-12), instant with offset, or words (\"spring 2027\")",
);
const PLAN: Variable = takes("plan_id", "the plan's reference, as the client knows it");
const LINK: Variable = takes("link", "https address of the page this message is about");
const CURRENCY: Variable = takes(
    "currency",
    "ISO 4217 code of the amounts; without it amounts stand alone",
);
const NOTE: Variable = takes("note", "a personal line from the planner");
const PLANNER: Variable = takes("planner_name", "who signs");

/// The seven types of the planning workflow, what they are gathered in, direct texts and answers to keywords.
pub(super) const WORKFLOW: &[MessageTypeInfo] = &[
    MessageTypeInfo {
        name: "welcome",
        purpose: "The plan has been started; what happens next.",
        category: Category::Transactional,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CLIENT,
            EVENT,
            DATE,
            PLAN,
            LINK,
            takes(
                "next_steps",
                "list of texts, or of objects {title, detail?}; a general list stands in",
            ),
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "budget_summary",
        purpose: "Ways to divide the budget, side by side.",
        category: Category::Transactional,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CLIENT,
            EVENT,
            needs(
                "budget_allocations",
                "list of {name, total?, summary?, recommended?, allocations: list of {name, amount} or object of \
                 name: amount}; budget_strategies is read as the same",
            ),
            takes("total_budget", "the amount to be divided"),
            DATE,
            PLAN,
            LINK,
            CURRENCY,
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "vendor_options",
        purpose: "Combinations of vendors to choose from.",
        category: Category::Transactional,
        urgency: Urgency::High,
        detailed: true,
        variables: &[
            CLIENT,
            EVENT,
            needs(
                "vendor_combinations",
                "list of {name?, summary?, total?, match_percent?, url?, vendors: list of {service, name, price?}}",
            ),
            takes("respond_by", "date or instant until which the offers are held"),
            DATE,
            PLAN,
            LINK,
            CURRENCY,
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "selection_confirmation",
        purpose: "What the client has chosen, confirmed.",
        category: Category::Transactional,
        urgency: Urgency::Normal,
        detailed: true,
        variables: &[
            CLIENT,
            EVENT,
            needs("selected_vendors", "list of {service, name, price?, contact?}"),
            takes("total", "sum of the prices"),
            takes(
                "next_steps",
                "list of texts, or of objects {title, detail?}; a general list stands in",
            ),
            DATE,
            PLAN,
            LINK,
            CURRENCY,
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "blueprint_delivery",
        purpose: "The finished plan, to download.",
        category: Category::Transactional,
        urgency: Urgency::High,
        detailed: true,
        variables: &[
            CLIENT,
            EVENT,
            needs("blueprint_url", "https address of the document"),
            takes(
                "highlights",
                "list of texts, or of objects {title, detail?}: what the document holds",
            ),
            takes("expires_on", "date until which the link works"),
            DATE,
            PLAN,
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "error_notification",
        purpose: "Something went wrong on our side, and what happens now.",
        category: Category::Transactional,
        urgency: Urgency::Critical,
        detailed: false,
        variables: &[
            CLIENT,
            takes(
                "problem",
                "what could not be done, as the end of \"We could not ..\"",
            ),
            takes("resolution", "what happens now, a sentence"),
            takes("reference", "what to quote when asking"),
            takes("event_type", "the kind of event, in words"),
            PLAN,
            LINK,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "reminder",
        purpose: "Something still waits for the client.",
        category: Category::Service,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            CLIENT,
            needs(
                "pending_action",
                "what is still to be done, as the end of \"please ..\"",
            ),
            takes("due", "date or instant by which it is needed"),
            takes("event_type", "the kind of event, in words"),
            DATE,
            PLAN,
            LINK,
            NOTE,
            PLANNER,
        ],
    },
    MessageTypeInfo {
        name: "batch",
        purpose: "Several short messages in one.",
        category: Category::Service,
        urgency: Urgency::Low,
        detailed: false,
        variables: &[
            takes("client_name", "how the reader is addressed"),
            needs("items", "list of {title, text, link?}, in order"),
        ],
    },
    MessageTypeInfo {
        name: "direct",
        purpose: "A text another program wrote, sent as it is.",
        category: Category::Transactional,
        urgency: Urgency::Normal,
        detailed: false,
        variables: &[
            takes("title", "the subject line of an e-mail"),
            needs("body", "plain text; empty lines separate paragraphs"),
        ],
    },
    MessageTypeInfo {
        name: "sms_opt_out",
        purpose: "Confirms STOP, the last message before silence.",
        category: Category::Transactional,
        urgency: Urgency::Critical,
        detailed: false,
        variables: &[],
    },
    MessageTypeInfo {
        name: "sms_opt_in",
        purpose: "Confirms START.",
        category: Category::Transactional,
        urgency: Urgency::Critical,
        detailed: false,
        variables: &[],
    },
    MessageTypeInfo {
        name: "sms_help",
        purpose: "Answers HELP: who writes, how to stop.",
        category: Category::Transactional,
        urgency: Urgency::Critical,
        detailed: false,
        variables: &[],
    },
];
