//! Who writes the words of a campaign with `content = "ai"`: a model, row by row, within bounds; else the template, with the
//! reason. A model that is slow, down or wrong costs its words, never a message.

use super::facts::{ADDRESSEE, facts as facts_of_variables};
use super::propose::Asked;
use crate::accept::facts_of;
use crate::ai::{self, EgressTransport, NotAsked};
use crate::compose::{self, Composition, StoredRequest};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::request::{AcceptRequest, DirectContent, MAX_REQUESTS, Words};
use crate::tenancy::{self, TenantView};
use futures::StreamExt as _;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidings_ai::{Base, BaseRole, Brand, DraftRefused, DraftRequest, Limits, ModelSettings, RefusalReason};
use tidings_core::campaign::{Content, Definition};
use tidings_core::decide::facts::RequestFacts;
use tidings_core::decide::{Verdict, decide};
use tidings_core::redact::Private;
use tidings_core::{Channel, MessageId, TenantId, zone};
use tidings_store::TenantTx;
use tidings_store::messages::facts::{self, ContactKnown, FactsQuery};
use tidings_store::tenants::Tenant;
use tokio::time::{Instant, timeout_at};

/// Drafts under way at once.
const AT_ONCE: usize = 4;
/// Drafts of one turn of a run; further rows have the template's words.
const MOST_DRAFTS: u32 = 500;
/// How long a page's drafts may take together: well below the run's lease.
const PAGE_TIME: Duration = Duration::from_secs(90);
/// So many failed calls in a row, and the rest of the page has the template's words at once.
const FAILED_IN_A_ROW: u32 = 3;
/// Codes of findings that are kept of one draft.
const MOST_FINDINGS: usize = 20;

/// Writes the words of one run.
#[derive(Debug)]
pub(super) struct Author {
    model: Result<(ModelSettings, &'static str), NotAsked>,
    definition: Definition,
    begun: AtomicU32,
}

/// What a page has seen of the model.
struct Course {
    tenant: TenantId,
    until: Instant,
    failed: AtomicU32,
}

impl Author {
    /// The author of a campaign's messages; none where the template's words are wanted.
    pub async fn of(tx: &mut TenantTx, definition: &Definition) -> Result<Option<Self>, EngineError> {
        if definition.content == Content::Template {
            return Ok(None);
        }
        let prompt = tidings_ai::prompt(definition.message_type.as_str()).ok_or(NotAsked::NoPrompt);
        let model = ai::open(tx).await?;
        Ok(Some(Self {
            model: model.and_then(|model| prompt.map(|prompt| (model, prompt))),
            definition: definition.clone(),
            begun: AtomicU32::new(0),
        }))
    }

    /// Says of every request that will go out who found its words, and puts a model's words into it. Nothing is asked about
    /// a message that the rules end anyway, or that does not go by e-mail.
    pub async fn write(
        &self,
        inner: &Inner,
        tenant: &Tenant,
        asked: &mut [Asked<'_>],
    ) -> Result<(), EngineError> {
        let (model, prompt) = match &self.model {
            Ok((model, prompt)) => (model, *prompt),
            Err(reason) => {
                for one in asked {
                    one.request.words = Some(counted(Words::template(reason.as_str())));
                }
                return Ok(());
            }
        };
        let transport = EgressTransport(inner.providers.egress().clone());
        let course = Course {
            tenant: tenant.id,
            until: Instant::now() + PAGE_TIME,
            failed: AtomicU32::new(0),
        };
        for part in asked.chunks_mut(MAX_REQUESTS) {
            let tasks = self.tasks(inner, tenant.id, prompt, part).await?;
            let drafts = tasks.into_iter().map(|(place, task)| {
                let (transport, course) = (&transport, &course);
                async move {
                    let words = match task {
                        Ok(request) => self.draft(transport, model, course, &request).await,
                        Err(reason) => Words::template(reason.as_str()),
                    };
                    (place, words)
                }
            });
            let drafts: Vec<_> = drafts.collect();
            let mut drafts = futures::stream::iter(drafts).buffer_unordered(AT_ONCE);
            while let Some((place, words)) = drafts.next().await {
                part[place].request.words = Some(counted(words));
            }
        }
        Ok(())
    }

    /// What to ask the model for each request, or why not; requests that go nowhere are left out.
    async fn tasks(
        &self,
        inner: &Inner,
        tenant: TenantId,
        prompt: &'static str,
        part: &[Asked<'_>],
    ) -> Result<Vec<(usize, Result<DraftRequest<'static>, NotAsked>)>, EngineError> {
        let now = inner.now();
        let message_type = &self.definition.message_type;
        let mut conn = inner.conn().await?;
        let views = tenancy::load(inner, &mut conn, [tenant]).await?;
        let Some(view) = views.get(&tenant) else {
            return Ok(Vec::new());
        };
        let shelf = inner
            .templates
            .load(&mut conn, [(tenant, message_type.clone())])
            .await?;
        let queries: Vec<FactsQuery> = part
            .iter()
            .map(|one| FactsQuery {
                tenant,
                contact: one.contact,
                message: MessageId(uuid::Uuid::nil()),
                message_type: message_type.clone(),
                source_reference: one.request.source_reference.clone(),
            })
            .collect();
        let known = facts::load(&mut conn, &queries, now).await?;
        drop(conn);
        let channels = shelf.channels(tenant, message_type);
        let mut tasks = Vec::with_capacity(part.len());
        for (place, (one, known)) in part.iter().zip(known).enumerate() {
            let Some(known) = known else { continue };
            let locale = compose::locale(one.request.locale.as_deref(), &known, view);
            let bound = shelf.has_whatsapp_template(tenant, message_type, locale);
            let asked = self.request_facts(&one.request, &known, channels.clone(), bound);
            let verdict = decide(&facts_of(&known, asked, view.connected()), view.policy(), now).verdict;
            match by_email(&verdict, one.request.channel, &known) {
                None => {}
                Some(false) => tasks.push((place, Err(NotAsked::NotEmail))),
                Some(true) => {
                    let request = StoredRequest {
                        context: one.request.context.clone(),
                        content: None,
                        drafted_email: None,
                        attachments: Vec::new(),
                    };
                    let composition = Composition {
                        view,
                        shelf: &shelf,
                        known: &known,
                        contact: one.contact,
                        message: MessageId(uuid::Uuid::nil()),
                        message_type,
                        category: self.definition.category,
                        locale: one.request.locale.as_deref(),
                        request: &request,
                    };
                    // What cannot be rendered is refused, in the same words, when it is proposed.
                    if let Ok(base) = composition.wording() {
                        let task = self.task(view, &known, &one.request, prompt, base);
                        tasks.push((place, Ok(task)));
                    }
                }
            }
        }
        Ok(tasks)
    }

    fn request_facts(
        &self,
        request: &AcceptRequest,
        known: &ContactKnown,
        renderable_channels: Vec<Channel>,
        whatsapp_template: bool,
    ) -> RequestFacts {
        RequestFacts {
            message_type: self.definition.message_type.clone(),
            category: self.definition.category,
            urgency: self.definition.urgency,
            channel: request.channel,
            renderable_channels,
            send_at: request.send_at,
            expires_at: request.expires_at,
            duplicate_of: known.duplicate_of,
            approved: false,
            batched: false,
            bump_up: false,
            whatsapp_template,
        }
    }

    fn task(
        &self,
        view: &TenantView,
        known: &ContactKnown,
        request: &AcceptRequest,
        prompt: &'static str,
        (subject, text): (String, String),
    ) -> DraftRequest<'static> {
        let zone = zone::resolve(known.contact.zone.as_deref(), &view.policy().zone);
        let facts = facts_of_variables(request.context.expose(), &zone);
        let default = view.tenant.settings.default_locale.as_deref();
        let locale = request.locale.as_deref().or(known.locale.as_deref()).or(default);
        let brand = &view.brand;
        DraftRequest {
            message_type: self.definition.message_type.clone(),
            channel: Channel::Email,
            locale: locale.unwrap_or("en").to_owned(),
            system_prompt: Cow::Borrowed(prompt),
            addressee: facts.get(ADDRESSEE).is_some().then_some(ADDRESSEE),
            facts,
            brand: Brand {
                name: brand.name.clone(),
                website_url: brand.website_url.clone(),
                support_email: brand.support_email.clone(),
                support_phone: brand.support_phone.clone(),
                postal_address: brand.postal_address.clone(),
            },
            base: Base {
                subject: Some(subject).filter(|subject| !subject.is_empty()),
                text,
                // It holds values of the row, which strangers may have written: as a source it would make their links known.
                role: BaseRole::Wording,
            },
            limits: Limits::of(Channel::Email),
        }
    }

    async fn draft(
        &self,
        transport: &EgressTransport,
        model: &ModelSettings,
        course: &Course,
        request: &DraftRequest<'_>,
    ) -> Words {
        if course.failed.load(Ordering::Relaxed) >= FAILED_IN_A_ROW {
            return Words::template(NotAsked::ModelDown.as_str());
        }
        if Instant::now() >= course.until {
            return Words::template(NotAsked::TimeLimit.as_str());
        }
        if self.begun.fetch_add(1, Ordering::Relaxed) >= MOST_DRAFTS {
            return Words::template(NotAsked::Limit.as_str());
        }
        match timeout_at(course.until, tidings_ai::draft(transport, model, request)).await {
            Err(_) => Words::template(NotAsked::TimeLimit.as_str()),
            Ok(Ok(draft)) => {
                course.failed.store(0, Ordering::Relaxed);
                Words::Model {
                    email: DirectContent {
                        subject: draft.subject.map(Private::new),
                        body: Private::new(draft.body_text),
                        media: None,
                    },
                    model: draft.model,
                    tries: draft.tries,
                }
            }
            Ok(Err(refused)) => {
                self.learn(course, model, &refused);
                let codes: BTreeSet<&'static str> = refused
                    .findings
                    .iter()
                    .map(|finding| finding.code.as_str())
                    .collect();
                Words::Template {
                    reason: refused.reason.as_str(),
                    findings: codes.into_iter().take(MOST_FINDINGS).collect(),
                }
            }
        }
    }

    /// Counts calls that failed. A model that declines a text, or writes a wrong one, works.
    fn learn(&self, course: &Course, model: &ModelSettings, refused: &DraftRefused) {
        if refused.category.is_none() || refused.reason == RefusalReason::ModelDeclined {
            course.failed.store(0, Ordering::Relaxed);
            return;
        }
        let failed = course.failed.fetch_add(1, Ordering::Relaxed) + 1;
        if failed == FAILED_IN_A_ROW {
            tracing::warn!(
                tenant = %course.tenant, campaign = %self.definition.name, model = model.model(),
                reason = %refused.reason, detail = %refused.detail,
                "a model failed several times in a row; the rest of the page has the words of the template"
            );
        }
    }
}

/// Counts who found the words.
fn counted(words: Words) -> Words {
    let result = match &words {
        Words::Model { .. } => "drafted",
        Words::Template { reason, .. } => reason,
    };
    metrics::counter!("tidings_drafts_total", "result" => result).increment(1);
    words
}

/// Whether a message goes by e-mail, as far as can be told; nothing for one that goes nowhere. Of one that waits, the
/// channel is chosen when it is released: the campaign's channel, else what the contact prefers, says it until then.
fn by_email(verdict: &Verdict, asked: Option<Channel>, known: &ContactKnown) -> Option<bool> {
    match verdict {
        Verdict::Send(plan) => Some(plan.channels.first() == Some(&Channel::Email)),
        Verdict::Batch { channel, .. } => Some(*channel == Channel::Email),
        Verdict::Hold { .. } | Verdict::Approve { .. } => {
            let has_address = known
                .indexes
                .iter()
                .any(|(channel, _)| *channel == Channel::Email);
            let likely = asked.or_else(|| known.contact.preferred_channels.first().copied());
            Some(has_address && likely.is_none_or(|channel| channel == Channel::Email))
        }
        Verdict::Suppress | Verdict::Duplicate { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tidings_ai::Facts;
    use tidings_ai::stand_in::{ModelServer, Reply};
    use tidings_core::campaign::built_in;
    use tidings_providers::egress::{Egress, EgressPolicy};

    fn author(server: &ModelServer, begun: u32) -> Author {
        let definition = built_in()
            .iter()
            .find(|one| one.name.as_str() == "seven_day_checkin");
        let settings = serde_json::json!({
            "kind": "openai", "model": "small", "base_url": server.url(), "timeout_ms": 20_000
        });
        let model = ModelSettings::new(serde_json::from_value(settings).unwrap(), None).unwrap();
        Author {
            model: Ok((model, "Write.")),
            definition: definition.unwrap().clone(),
            begun: AtomicU32::new(begun),
        }
    }

    fn course(left: Duration, failed: u32) -> Course {
        Course {
            tenant: TenantId(uuid::Uuid::nil()),
            until: Instant::now() + left,
            failed: AtomicU32::new(failed),
        }
    }

    async fn reason(author: &Author, course: &Course) -> &'static str {
        let request = DraftRequest {
            message_type: author.definition.message_type.clone(),
            channel: Channel::Email,
            locale: "en".to_owned(),
            system_prompt: Cow::Borrowed("Write."),
            facts: Facts::new(),
            addressee: None,
            brand: Brand::default(),
            base: Base {
                subject: None,
                text: "It is due.".to_owned(),
                role: BaseRole::Wording,
            },
            limits: Limits::of(Channel::Email),
        };
        let transport = EgressTransport(Egress::new(EgressPolicy::for_stand_ins()).unwrap());
        let (model, _) = author.model.as_ref().unwrap();
        match author.draft(&transport, model, course, &request).await {
            Words::Template { reason, .. } => reason,
            Words::Model { .. } => "drafted",
        }
    }

    #[tokio::test]
    async fn a_run_makes_so_many_drafts_and_a_page_takes_so_long() {
        let server = ModelServer::start([Reply::Silence]);
        let minute = Duration::from_mins(1);
        assert_eq!(
            reason(&author(&server, MOST_DRAFTS), &course(minute, 0)).await,
            "ai_limit"
        );
        let fresh = author(&server, 0);
        assert_eq!(reason(&fresh, &course(Duration::ZERO, 0)).await, "ai_time_limit");
        assert_eq!(
            reason(&fresh, &course(minute, FAILED_IN_A_ROW)).await,
            "ai_model_down"
        );
        assert!(server.received().is_empty());
        // A draft under way is not waited for either.
        assert_eq!(
            reason(&fresh, &course(Duration::from_millis(300), 0)).await,
            "ai_time_limit"
        );
    }

    #[tokio::test]
    async fn only_failures_in_a_row_count() {
        let server = ModelServer::start([
            Reply::Error(500, "server_error", None),
            Reply::Declines,
            Reply::Error(500, "server_error", None),
        ]);
        let (author, course) = (author(&server, 0), course(Duration::from_mins(1), 1));
        assert_eq!(reason(&author, &course).await, "ai_model_failed");
        assert_eq!(course.failed.load(Ordering::Relaxed), 2);
        assert_eq!(reason(&author, &course).await, "ai_model_declined");
        assert_eq!(course.failed.load(Ordering::Relaxed), 0);
        assert_eq!(reason(&author, &course).await, "ai_model_failed");
        assert_eq!(course.failed.load(Ordering::Relaxed), 1);
    }
}
