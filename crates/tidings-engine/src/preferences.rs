//! The preference page of a contact: what it shows and what it changes, by a signed link and without a login.
//!
//! The link shows no address in full and takes nobody's word for who is holding it: whoever wants the data, or wants them
//! gone, names one of the addresses first. Every change is one transaction under the contact's lock, which the dispatch gate
//! takes too.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::unsubscribe::{living, withdraw};
use crate::visitor::Sender;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use tidings_core::decide::Policy;
use tidings_core::decide::facts::{ConsentFacts, SuppressionReason, Window};
use tidings_core::{Category, Channel, ContactId, Dice, TenantId};
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, AddressKind, Contact, PreferencesChange};
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::routes;
use tidings_store::suppressions::{self, InForce, NewSuppression};
use tidings_store::tenants::{self, Tenant};
use tidings_store::{TenantTx, templates};

/// How long "pause" pauses.
pub const PAUSE_DAYS: i64 = 30;

/// The topics a contact chooses among.
pub const TOPICS: [Category; 2] = [Category::Marketing, Category::Service];

/// Where changes come from, as ledgers say it.
const SOURCE: &str = "preference page";

/// Who holds a verified link.
#[derive(Clone, Debug)]
pub enum PreferenceVisit {
    /// A contact and its choices.
    Contact(Box<PreferencePage>),
    /// A contact who was erased.
    Erased(Sender),
}

/// What the page shows.
#[derive(Clone, Debug)]
pub struct PreferencePage {
    /// Who writes.
    pub sender: Sender,
    /// The addresses, masked.
    pub addresses: Vec<String>,
    /// The channels there are for this contact.
    pub channels: Vec<ChannelChoice>,
    /// The topics.
    pub topics: Vec<TopicChoice>,
    /// Nothing but what is owed before this instant.
    pub paused_until: Option<Timestamp>,
    /// The contact's own quiet hours: the first window, where there are several.
    pub quiet_hours: Option<Window>,
    /// The contact's language.
    pub language: Option<String>,
    /// Languages the tenant writes in.
    pub languages: Vec<String>,
    /// IANA zone name.
    pub zone: Option<String>,
}

/// A channel on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelChoice {
    /// Which.
    pub channel: Channel,
    /// Messages may come.
    pub on: bool,
    /// It was stopped by STOP: only START opens it again.
    pub stopped: bool,
}

/// A topic on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicChoice {
    /// Which.
    pub topic: Category,
    /// Messages may come.
    pub on: bool,
}

/// What a contact does on the page.
#[derive(Clone, Debug)]
pub enum PreferenceAction {
    /// Saves choices.
    Save(PreferenceChoices),
    /// Wants to hear nothing for [`PAUSE_DAYS`].
    Pause,
    /// Ends a pause.
    Resume,
    /// Turns everything off.
    UnsubscribeAll,
}

/// The choices of the page, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreferenceChoices {
    /// Channels that may be used; those not shown are not touched.
    pub channels: BTreeSet<Channel>,
    /// Topics wanted.
    pub topics: BTreeSet<Category>,
    /// Quiet hours; none for none.
    pub quiet_hours: Option<Window>,
    /// Language; none leaves it as it is.
    pub language: Option<String>,
    /// In which words the topics were offered, for the consent ledger.
    pub wordings: Vec<(Category, String)>,
}

/// A contact as the page works on it, under its lock.
pub(crate) struct Visited {
    pub tenant: Tenant,
    pub contact: Contact,
    channels: Vec<Channel>,
    consents: Vec<ConsentFacts>,
    suppressed: Vec<InForce>,
    languages: Vec<String>,
}

impl Engine {
    /// What the preference page shows; none for a token that is not ours. Changes nothing.
    pub async fn preference_page(&self, token: &str) -> Result<Option<PreferenceVisit>, EngineError> {
        let Some((tenant, contact)) = self.preference_holder(token).await? else {
            return Ok(None);
        };
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        let visit = visit(&mut tx, contact).await?;
        tx.commit().await?;
        Ok(Some(visit))
    }

    /// Does what the contact wants and answers the page as it is then. None for a token that is not ours.
    pub async fn change_preferences(
        &self,
        token: &str,
        action: &PreferenceAction,
    ) -> Result<Option<PreferenceVisit>, EngineError> {
        let Some((tenant, contact)) = self.preference_holder(token).await? else {
            return Ok(None);
        };
        let now = self.now();
        let mut dice = self.dice();
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        if living(&mut tx, contact).await?.is_some() {
            contacts::lock(&mut tx, contact).await?;
        }
        if let Some(visited) = visited(&mut tx, contact).await? {
            let changed = visited.perform(&mut tx, action, &mut dice, now).await?;
            note(&mut tx, contact, &changed, &mut dice, now).await?;
        }
        let visit = visit(&mut tx, contact).await?;
        tx.commit().await?;
        Ok(Some(visit))
    }

    pub(crate) async fn preference_holder(
        &self,
        token: &str,
    ) -> Result<Option<(TenantId, ContactId)>, EngineError> {
        let Some((tenant, key, token)) = self.token_key(token).await? else {
            return Ok(None);
        };
        Ok(token.preferences(&key).map(|contact| (tenant, contact)))
    }
}

async fn visit(tx: &mut TenantTx, contact: ContactId) -> Result<PreferenceVisit, EngineError> {
    if let Some(visited) = visited(tx, contact).await? {
        return Ok(PreferenceVisit::Contact(Box::new(visited.page())));
    }
    let tenant = tx.tenant();
    Ok(PreferenceVisit::Erased(Sender::of(
        tenants::get(tx, tenant).await?,
    )))
}

/// Loads what the page needs; none for a contact who is unknown or erased.
pub(crate) async fn visited(tx: &mut TenantTx, contact: ContactId) -> Result<Option<Visited>, EngineError> {
    let Some(contact) = living(tx, contact).await? else {
        return Ok(None);
    };
    let id = tx.tenant();
    let tenant = tenants::get(tx, id).await?;
    let connected: BTreeSet<Channel> = routes::load(tx, &[id])
        .await?
        .into_iter()
        .map(|route| route.channel)
        .collect();
    let held = |channel: Channel| {
        contact
            .addresses
            .iter()
            .any(|address| address.kind == AddressKind::of(channel) && address.valid)
    };
    let chosen = |channel: Channel| {
        contact.preferences.opted_out.contains(&channel) || contact.preferences.stopped.contains(&channel)
    };
    let channels = Channel::ALL
        .iter()
        .copied()
        .filter(|channel| held(*channel) && (connected.contains(channel) || chosen(*channel)))
        .collect();
    let known = consents::in_force(tx, &[(id, contact.id)]).await?;
    let indexes: Vec<_> = contact
        .addresses
        .iter()
        .map(|address| (id, address.blind_index))
        .collect();
    let suppressed = suppressions::in_force(tx, &indexes).await?;
    let mut languages: BTreeSet<String> = templates::all_published(tx, id)
        .await?
        .into_iter()
        .map(|template| template.key.locale)
        .collect();
    languages.extend(tenant.settings.default_locale.clone());
    languages.extend(contact.locale.clone());
    Ok(Some(Visited {
        tenant,
        channels,
        consents: known.into_values().flatten().collect(),
        suppressed,
        languages: languages.into_iter().collect(),
        contact,
    }))
}

impl Visited {
    fn page(self) -> PreferencePage {
        let channels = self
            .channels
            .iter()
            .map(|channel| ChannelChoice {
                channel: *channel,
                on: self.channel_on(*channel),
                stopped: self.stopped(*channel),
            })
            .collect();
        let topics = TOPICS
            .iter()
            .map(|topic| TopicChoice {
                topic: *topic,
                on: self.topic_on(*topic),
            })
            .collect();
        let addresses = self
            .contact
            .addresses
            .iter()
            .filter_map(contacts::ContactAddress::address);
        PreferencePage {
            addresses: addresses.map(|address| address.masked()).collect(),
            channels,
            topics,
            paused_until: self.contact.preferences.paused_until,
            quiet_hours: self.contact.preferences.quiet_hours.first().copied(),
            language: self.contact.locale,
            languages: self.languages,
            zone: self.contact.zone,
            sender: Sender::of(self.tenant),
        }
    }

    fn stopped(&self, channel: Channel) -> bool {
        self.contact.preferences.stopped.contains(&channel)
            || self.is_suppressed(channel, SuppressionReason::Stop)
    }

    fn channel_on(&self, channel: Channel) -> bool {
        let unsubscribed = self.is_suppressed(channel, SuppressionReason::Unsubscribe);
        !(self.stopped(channel) || unsubscribed || self.contact.preferences.opted_out.contains(&channel))
    }

    fn is_suppressed(&self, channel: Channel, reason: SuppressionReason) -> bool {
        self.suppressed
            .iter()
            .any(|entry| entry.channel == channel && entry.reason == reason)
    }

    /// On while the rules would let it through on one of the channels.
    fn topic_on(&self, topic: Category) -> bool {
        let by_channel = |channel: &Channel| permitted(&self.consents, &self.tenant.policy, topic, *channel);
        if self.channels.is_empty() {
            false
        } else {
            self.channels.iter().any(by_channel)
        }
    }

    async fn perform(
        &self,
        tx: &mut TenantTx,
        action: &PreferenceAction,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, EngineError> {
        match action {
            PreferenceAction::Save(choices) => self.save(tx, choices, dice, now).await,
            PreferenceAction::Pause => {
                let until = now
                    .saturating_add(SignedDuration::from_hours(24 * PAUSE_DAYS))
                    .unwrap_or(now);
                self.pause(tx, Some(until), now).await
            }
            PreferenceAction::Resume => self.pause(tx, None, now).await,
            PreferenceAction::UnsubscribeAll => self.unsubscribe_all(tx, dice, now).await,
        }
    }

    async fn pause(
        &self,
        tx: &mut TenantTx,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, EngineError> {
        let change = PreferencesChange {
            paused_until: Some(until),
            ..PreferencesChange::default()
        };
        contacts::update_preferences(tx, self.contact.id, change, now).await?;
        Ok(vec![if until.is_some() { "paused" } else { "resumed" }])
    }

    async fn save(
        &self,
        tx: &mut TenantTx,
        choices: &PreferenceChoices,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, EngineError> {
        let mut changed = Vec::new();
        let opened = self.newly(choices, true);
        let closed = self.newly(choices, false);
        for channel in &opened {
            self.lift(tx, *channel, now).await?;
        }
        let mut change = PreferencesChange::default();
        if !opened.is_empty() || !closed.is_empty() {
            changed.push("channels");
            let mut out = self.contact.preferences.opted_out.clone();
            out.retain(|channel| !opened.contains(channel));
            out.extend(closed);
            out.dedup();
            change.opted_out = Some(out);
        }
        if self.contact.preferences.quiet_hours.first().copied() != choices.quiet_hours {
            changed.push("quiet_hours");
            let rest = self.contact.preferences.quiet_hours.iter().skip(1).copied();
            change.quiet_hours = Some(choices.quiet_hours.into_iter().chain(rest).collect());
        }
        if let Some(language) = choices
            .language
            .clone()
            .filter(|chosen| self.languages.contains(chosen))
            && self.contact.locale.as_ref() != Some(&language)
        {
            changed.push("language");
            change.locale = Some(Some(language));
        }
        if !changed.is_empty() {
            contacts::update_preferences(tx, self.contact.id, change, now).await?;
        }
        if self.topics(tx, choices, !opened.is_empty(), dice, now).await? {
            changed.push("topics");
        }
        Ok(changed)
    }

    /// The shown channels that go on (or off) by these choices. A stopped one does neither.
    fn newly(&self, choices: &PreferenceChoices, on: bool) -> Vec<Channel> {
        let movable = self
            .channels
            .iter()
            .copied()
            .filter(|channel| !self.stopped(*channel));
        movable
            .filter(|channel| choices.channels.contains(channel) == on && self.channel_on(*channel) != on)
            .collect()
    }

    /// Opens an unsubscribed channel again, on the contact's own word.
    async fn lift(&self, tx: &mut TenantTx, channel: Channel, now: Timestamp) -> Result<(), EngineError> {
        let reasons = [SuppressionReason::Unsubscribe];
        for address in self
            .contact
            .addresses
            .iter()
            .filter(|address| address.kind == AddressKind::of(channel))
        {
            suppressions::lift_matching(tx, channel, address.blind_index, &reasons, SOURCE, now).await?;
        }
        Ok(())
    }

    /// Enters what changed into the ledger. A wanted topic is consented to anew when a channel was opened, where an earlier
    /// withdrawal for that channel would still stand in its way.
    async fn topics(
        &self,
        tx: &mut TenantTx,
        choices: &PreferenceChoices,
        opened: bool,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let mut changed = false;
        for topic in TOPICS {
            let wanted = choices.topics.contains(&topic);
            let blocked =
                |channel: &Channel| !permitted(&self.consents, &self.tenant.policy, topic, *channel);
            let renewed = wanted && opened && self.channels.iter().any(blocked);
            if self.topic_on(topic) == wanted && !renewed {
                continue;
            }
            changed = true;
            let wording = choices
                .wordings
                .iter()
                .find(|(of, _)| *of == topic)
                .map(|(_, words)| words.clone());
            let entry = NewConsent {
                contact: self.contact.id,
                purpose: topic,
                channel: None,
                granted: wanted,
                source: SOURCE.to_owned(),
                wording,
            };
            consents::record(tx, entry, dice, now).await?;
        }
        Ok(changed)
    }

    async fn unsubscribe_all(
        &self,
        tx: &mut TenantTx,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, EngineError> {
        let tenant = self.tenant.id;
        let items: Vec<_> = self
            .contact
            .addresses
            .iter()
            .flat_map(|address| {
                address.kind.channels().map(move |channel| NewSuppression {
                    tenant,
                    channel,
                    blind_index: address.blind_index,
                    reason: SuppressionReason::Unsubscribe,
                    source: SOURCE.to_owned(),
                    detail: None,
                })
            })
            .collect();
        suppressions::add(tx, &items, dice, now).await?;
        let change = PreferencesChange {
            opted_out: Some(Channel::ALL.to_vec()),
            ..PreferencesChange::default()
        };
        contacts::update_preferences(tx, self.contact.id, change, now).await?;
        for topic in TOPICS {
            withdraw(tx, self.contact.id, topic, None, SOURCE, dice, now).await?;
        }
        Ok(vec!["everything_off"])
    }
}

/// What the consent rule says of a topic on a channel.
fn permitted(consents: &[ConsentFacts], policy: &Policy, topic: Category, channel: Channel) -> bool {
    consents
        .iter()
        .filter(|consent| consent.purpose == topic && consent.channel.is_none_or(|only| only == channel))
        .max_by_key(|consent| (consent.at, !consent.granted))
        .map_or(!policy.consent_required.contains(&topic), |consent| {
            consent.granted
        })
}

async fn note(
    tx: &mut TenantTx,
    contact: ContactId,
    changed: &[&'static str],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    if changed.is_empty() {
        return Ok(());
    }
    let all = changed.contains(&"everything_off");
    let event = NewEvent {
        tenant: tx.tenant(),
        kind: if all {
            "ContactUnsubscribed"
        } else {
            "PreferencesChanged"
        }
        .to_owned(),
        contact: Some(contact),
        message: None,
        subject: None,
        data: serde_json::json!({ "changed": changed, "by": SOURCE }),
    };
    events::append(tx, &[event], dice, now).await?;
    Ok(())
}
