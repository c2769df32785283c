use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{id::TenantId, random::OsRandomness, scope::OperatorScope, store::MemoryStore, tenant::Tenants};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct World {
    access: Access,
    members: Members,
    invitations: Invitations,
    keys: ApiKeys,
    sessions: Sessions,
    store: Arc<MemoryStore>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self {
            access: Access::new(store.clone()),
            members: Members::new(store.clone()),
            invitations: Invitations::new(store.clone()),
            keys: ApiKeys::new(store.clone()),
            sessions: Sessions::new(store.clone()),
            store,
        }
    }

    async fn role(&self, person: &Person, scope: &TenantScope) -> Option<Role> {
        let grant = self.access.of_person(person, scope.tenant()).await.unwrap();
        grant.map(|grant| {
            assert_eq!(grant.scope(), scope);
            grant.role()
        })
    }
}

fn scopes() -> [TenantScope; 2] {
    [(), ()].map(|()| TenantScope::of(TenantId::generate(&OsRandomness)))
}

fn ada() -> Person {
    Person::proven("https://issuer.example", "ada", "Ada\u{7}")
}

#[test]
fn a_person_is_one_subject_of_one_issuer() {
    let ids = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "")]
        .map(|(issuer, subject)| Person::proven(issuer, subject, "").id().clone());
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(!ids[..index].contains(id));
    }
    assert_eq!(
        ada().id(),
        Person::proven("https://issuer.example", "ada", "other").id()
    );
    assert_eq!(ada().name(), "Ada");
}

#[tokio::test]
async fn an_invitation_is_redeemed_once_and_in_time() {
    let world = World::new();
    let [scope, other] = scopes();
    let invite = async || {
        let invited = world.invitations.invite(&scope, Role::Reader, NOW, &OsRandomness);
        invited.await.unwrap().0
    };
    let token = invite().await;
    let late = NOW + Invitations::LAST;
    assert_eq!(
        world.invitations.redeem(&token, &ada(), late).await.unwrap(),
        None
    );
    assert_eq!(world.role(&ada(), &scope).await, None);

    let joined = world.invitations.redeem(&token, &ada(), NOW).await.unwrap();
    assert_eq!(joined, Some(Joined::Tenant(scope.tenant().clone(), Role::Reader)));
    assert_eq!(world.role(&ada(), &scope).await, Some(Role::Reader));
    assert_eq!(world.role(&ada(), &other).await, None);
    let bob = Person::proven("https://issuer.example", "bob", "Bob");
    assert_eq!(world.invitations.redeem(&token, &bob, NOW).await.unwrap(), None);
    assert_eq!(world.role(&bob, &scope).await, None);
    assert_eq!(
        world.access.tenants_of(&ada()).await.unwrap(),
        [(scope.tenant().clone(), Role::Reader)]
    );
    assert!(world.access.of_operator(&ada()).await.unwrap().is_none());

    let operator = OperatorScope::of_this_process();
    let (token, _) = world
        .invitations
        .invite_operator(operator, NOW, &OsRandomness)
        .await
        .unwrap();
    let joined = world.invitations.redeem(&token, &bob, NOW).await.unwrap();
    assert_eq!(joined, Some(Joined::Operators));
    let tenants = Tenants::new(world.store.clone());
    let made = tenants.create(operator, "one", NOW, &OsRandomness).await.unwrap();
    let granted = world.access.of_operator(&bob).await.unwrap().unwrap();
    assert_eq!(tenants.list(granted).await.unwrap(), [made]);
    // An operator is a member of nothing by that.
    assert_eq!(world.role(&bob, &scope).await, None);
    assert!(world.members.remove_operator(operator, bob.id()).await.unwrap());
    assert!(world.access.of_operator(&bob).await.unwrap().is_none());
}

#[tokio::test]
async fn a_removed_member_may_do_nothing_at_once() {
    let world = World::new();
    let [scope, other] = scopes();
    let operator = OperatorScope::of_this_process();
    for scope in [&scope, &other] {
        let person = ada();
        let added = world
            .members
            .add(operator, scope, &person, Role::Administrator, NOW);
        added.await.unwrap();
    }
    let (person, seen) = (
        ada(),
        world.members.find(&scope, ada().id()).await.unwrap().unwrap().1,
    );
    let set = |role, seen| world.members.set_role(&scope, person.id(), role, seen);
    let RoleChange::Done(now) = set(Role::Reader, Some(seen)).await.unwrap() else {
        panic!("nobody changed it in between");
    };
    assert_eq!(
        set(Role::Administrator, Some(seen)).await.unwrap(),
        RoleChange::Changed
    );
    assert_eq!(
        world.members.find(&scope, person.id()).await.unwrap().unwrap().1,
        now
    );
    assert_eq!(world.role(&ada(), &scope).await, Some(Role::Reader));
    assert_eq!(world.role(&ada(), &other).await, Some(Role::Administrator));

    assert!(world.members.remove(&scope, person.id()).await.unwrap());
    assert!(!world.members.remove(&scope, person.id()).await.unwrap());
    assert_eq!(world.role(&ada(), &scope).await, None);
    assert_eq!(
        world.access.tenants_of(&ada()).await.unwrap(),
        [(other.tenant().clone(), Role::Administrator)]
    );
    assert_eq!(
        world
            .members
            .set_role(&scope, person.id(), Role::Reader, None)
            .await
            .unwrap(),
        RoleChange::Missing
    );
}

#[tokio::test]
async fn a_key_opens_its_tenant_until_it_expires_or_is_revoked() {
    let world = World::new();
    let [scope, other] = scopes();
    let until = NOW + SignedDuration::from_hours(1);
    let made = world
        .keys
        .create(&scope, "ci", Role::Reader, (NOW, until), &OsRandomness);
    let (key, token) = made.await.unwrap();
    let grant = async |now| {
        let found = world.access.of_api_key(&token, now).await.unwrap();
        found.map(|(key, grant)| (key.id, grant.scope().clone(), grant.role()))
    };
    assert_eq!(
        grant(NOW).await,
        Some((key.id.clone(), scope.clone(), Role::Reader))
    );
    assert_eq!(grant(until).await, None);
    let stranger = Token::generate(TokenKind::ApiKey, &OsRandomness);
    assert!(world.access.of_api_key(&stranger, NOW).await.unwrap().is_none());
    assert!(!world.keys.revoke(&other, &key.id).await.unwrap());
    assert!(world.keys.revoke(&scope, &key.id).await.unwrap());
    assert_eq!(grant(NOW).await, None);
    assert!(!world.keys.revoke(&scope, &key.id).await.unwrap());
    assert!(world.store.dump().is_empty(), "nothing of it is left");
}

#[tokio::test]
async fn no_token_is_stored() {
    let world = World::new();
    let [scope, _] = scopes();
    let until = NOW + SignedDuration::from_hours(1);
    let key = world
        .keys
        .create(&scope, "ci", Role::Reader, (NOW, until), &OsRandomness);
    let tokens = [
        key.await.unwrap().1,
        world
            .invitations
            .invite(&scope, Role::Reader, NOW, &OsRandomness)
            .await
            .unwrap()
            .0,
        world.sessions.open(ada(), NOW, &OsRandomness).await.unwrap(),
        world
            .sessions
            .begin("/".to_owned(), NOW, &OsRandomness)
            .await
            .unwrap(),
    ];
    let stored = format!("{:?}", world.store.dump());
    for token in tokens {
        assert!(!stored.contains(&token.expose()[4..]));
        assert!(stored.contains(token.hash().as_str()));
    }
}

#[tokio::test]
async fn sessions_end_and_sign_ins_are_taken_once() {
    let world = World::new();
    let token = world.sessions.open(ada(), NOW, &OsRandomness).await.unwrap();
    let found = world.sessions.find(&token, NOW).await.unwrap().unwrap();
    assert_eq!(found.person, ada());
    assert_eq!(world.sessions.find(&token, found.expires_at).await.unwrap(), None);
    world.sessions.end(&token).await.unwrap();
    assert_eq!(world.sessions.find(&token, NOW).await.unwrap(), None);

    let begin = async || {
        world
            .sessions
            .begin("/a".to_owned(), NOW, &OsRandomness)
            .await
            .unwrap()
    };
    let token = begin().await;
    let sign_in = world.sessions.take(&token, NOW).await.unwrap().unwrap();
    assert_eq!(sign_in.return_to, "/a");
    assert_eq!(world.sessions.take(&token, NOW).await.unwrap(), None);
    let late = begin().await;
    assert_eq!(
        world.sessions.take(&late, sign_in.expires_at).await.unwrap(),
        None
    );
}
