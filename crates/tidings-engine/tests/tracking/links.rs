//! Links cannot be forged, tampered with, used for another purpose or moved to another tenant.

use proptest::prelude::*;
use std::sync::OnceLock;
use tidings_core::{Channel, ContactId, MessageId, TenantId};
use tidings_engine::links::{Links, Token, Unsubscriber};
use tidings_engine::store::tenants::{self, NewTenant, TenantSettings};
use tidings_engine::store::{Keyring, Store, StoreOptions, TenantKey};
use uuid::Uuid;

const TARGET: &str = "https://shop.example/offers?id=7#top";
const MESSAGE: MessageId = MessageId(Uuid::from_u128(0x17));
const CONTACT: ContactId = ContactId(Uuid::from_u128(0x18));

/// The keys of two tenants, made once: keys come out of a database.
fn keys() -> &'static [TenantKey; 2] {
    static KEYS: OnceLock<[TenantKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| tokio::runtime::Runtime::new().unwrap().block_on(make_keys()))
}

async fn make_keys() -> [TenantKey; 2] {
    let database = tidings_testkit::database().await;
    let (keyring, now) = (
        Keyring::random().unwrap(),
        "2026-06-16T15:00:00Z".parse().unwrap(),
    );
    let store = Store::connect(StoreOptions::new(database.url.clone()), keyring.clone(), now)
        .await
        .unwrap();
    let mut conn = store.worker_conn().await.unwrap();
    let mut made = Vec::new();
    for number in 1..=2_u128 {
        let id = TenantId(Uuid::from_u128(number));
        let new = NewTenant {
            id,
            slug: format!("tenant-{number}"),
            name: "Tenant".to_owned(),
            policy: tidings_core::decide::Policy::default(),
            settings: TenantSettings::default(),
        };
        tenants::create(&mut conn, &keyring, new, now).await.unwrap();
        made.push(keyring.tenant_key(&mut conn, id).await.unwrap());
    }
    drop(conn);
    store.close().await;
    made.try_into().unwrap()
}

/// One token of each purpose: open, click, unsubscribe, preferences.
fn tokens(key: &TenantKey) -> [String; 4] {
    let links = Links::new(&"https://t.example/base/".parse().unwrap(), key).unwrap();
    let who = Unsubscriber {
        contact: CONTACT,
        message: MESSAGE,
        channel: Channel::Email,
        address: [7; 32],
    };
    [
        links.open_pixel(MESSAGE),
        links.click(MESSAGE, TARGET),
        links.unsubscribe(&who),
        links.preferences(CONTACT),
    ]
    .map(|url| url.rsplit('/').next().unwrap().to_owned())
}

/// Which purposes a token is good for under a key.
fn good_for(token: &str, key: &TenantKey) -> [bool; 4] {
    let Some(token) = Token::parse(token) else {
        return [false; 4];
    };
    [
        token.open(key).is_some(),
        token.click(key).is_some(),
        token.unsubscribe(key).is_some(),
        token.preferences(key).is_some(),
    ]
}

#[test]
fn each_token_is_good_for_its_purpose_and_its_tenant() {
    let [ours, theirs] = keys();
    for (at, token) in tokens(ours).iter().enumerate() {
        let mut expected = [false; 4];
        expected[at] = true;
        assert_eq!(good_for(token, ours), expected, "{at}");
        assert_eq!(good_for(token, theirs), [false; 4], "{at}");
    }
    let click = Token::parse(&tokens(ours)[1]).unwrap().click(ours).unwrap();
    assert_eq!(click, (MESSAGE, TARGET.to_owned()));
}

#[test]
fn a_token_moved_to_another_tenant_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let [ours, theirs] = keys();
    for token in tokens(ours) {
        let mut bytes = BASE64.decode(&token).unwrap();
        bytes[..16].copy_from_slice(theirs.tenant().0.as_bytes());
        assert_eq!(good_for(&BASE64.encode(bytes), theirs), [false; 4]);
    }
}

#[test]
fn only_web_links_of_a_sane_length_are_tracked() {
    let links = Links::new(&"https://t.example".parse().unwrap(), &keys()[0]).unwrap();
    for target in [
        "mailto:a@b.example",
        "tel:+1",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "/relative",
        "https://t.example/u/x",
    ] {
        assert_eq!(links.click(MESSAGE, target), target);
    }
    let long = format!("https://shop.example/{}", "x".repeat(2_000));
    assert_eq!(links.click(MESSAGE, &long), long);
    assert!(
        links
            .click(MESSAGE, "http://shop.example")
            .starts_with("https://t.example/t/c/")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_changed_token_is_good_for_nothing(which in 0_usize..4, at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let [ours, theirs] = keys();
        let token = tokens(ours)[which].clone();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != token);
        prop_assert_eq!(good_for(&changed, ours), [false; 4]);
        prop_assert_eq!(good_for(&changed, theirs), [false; 4]);
    }

    #[test]
    fn a_cut_or_lengthened_token_is_good_for_nothing(which in 0_usize..4, cut in 1_usize..40, more in "[A-Za-z0-9_=-]{1,40}") {
        let [ours, _] = keys();
        let token = tokens(ours)[which].clone();
        prop_assert_eq!(good_for(&token[..token.len() - cut], ours), [false; 4]);
        prop_assert_eq!(good_for(&token[cut..], ours), [false; 4]);
        prop_assert_eq!(good_for(&format!("{token}{more}"), ours), [false; 4]);
    }

    #[test]
    fn anything_at_all_is_good_for_nothing(text in ".{0,200}") {
        prop_assert_eq!(good_for(&text, &keys()[0]), [false; 4]);
    }
}
