package controllers

import (
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

const bankAPI, bankRealm = "https://bank.example.com/", "https://bank.example.com/realm"

// bank is one name of each kind, with its owner, and other objects that ask for it. They are in a
// namespace of their own and older.
type bank struct {
	*testEnv
	rivals    string // their namespace
	client    *v1alpha1.OAuthClient
	user      *v1alpha1.OAuthUser
	api       *v1alpha1.ResourceServer
	provider  *v1alpha1.IdentityProvider
	claimants []client.Object
}

// newBank has a server whose second rule is for the namespace of the rivals, and allows no names
// until allowRivals.
func newBank(t *testing.T) (b *bank, stop func()) {
	t.Helper()
	b = &bank{testEnv: newEnvWithoutManager(t)}
	rivals := newNamespace(t, map[string]string{"rivals-of": b.identity})
	b.rivals = rivals
	t.Cleanup(func() { b.apps = rivals; b.cleanUp() })
	b.server.Spec.AllowedClients[0].ClientIDs = []string{"bank"}
	b.server.Spec.AllowedClients = append(b.server.Spec.AllowedClients, v1alpha1.ClientRule{
		Name: "rivals", Namespaces: b.selectNamespaces("rivals-of", b.identity), ClientIDs: []string{"rival-*"},
	})
	b.server.Spec.AllowedResourceServers = append(b.server.Spec.AllowedResourceServers, v1alpha1.ResourceServerRule{
		Name: "rivals", Namespaces: b.selectNamespaces("rivals-of", b.identity), Identifiers: []string{"urn:rival"},
	})
	_, stop = runManager(t)
	b.startServer()
	return b, stop
}

func (b *bank) allowRivals() {
	b.t.Helper()
	updateObject(b.testEnv, b.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[1].ClientIDs, s.Spec.AllowedResourceServers[1].Identifiers = []string{"bank"}, nil
	})
}

// addClaimants applies so many objects of each kind that ask for the bank's names, when they may
// not have them.
func (b *bank) addClaimants(n int) {
	b.t.Helper()
	for i := range n {
		c := b.newClient(asking("bank"), func(c *v1alpha1.OAuthClient) { c.Namespace = b.rivals })
		b.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		api := b.apiOf(b.rivals)
		create(b.t, api)
		b.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		u := b.newUser(fmt.Sprint("rival-", i), "correct horse", subject("bank-user"), username("Bank"), func(u *v1alpha1.OAuthUser) {
			u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"iss":"x"}`)}
		})
		b.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		p := b.newProvider(fmt.Sprint("rival-provider-", i), func(p *v1alpha1.IdentityProvider) { p.Spec.Realm, p.Spec.Allow = bankRealm, "upstream.(" })
		b.waitForCondition(p, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
		b.claimants = append(b.claimants, c, api, u, p)
	}
	time.Sleep(1100 * time.Millisecond) // creationTimestamp counts seconds
}

func (b *bank) apiOf(namespace string) *v1alpha1.ResourceServer {
	return &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "api-"},
		Spec: v1alpha1.ResourceServerSpec{
			ServerRef:  v1alpha1.ServerReference{Name: "main", Namespace: b.identity},
			Identifier: bankAPI, Scopes: resourceScopes("bank:read", "bank:write"),
		},
	}
}

// addOwners applies the objects that get the names.
func (b *bank) addOwners() {
	b.t.Helper()
	b.client = b.readyClient(asking("bank"))
	b.user = b.readyUser("bank", "correct horse", subject("bank-user"))
	b.api = b.apiOf(b.apps)
	create(b.t, b.api)
	b.waitForCondition(b.api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	b.provider = b.readyProvider("bank-provider", func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = bankRealm })
}

// names are the bank's, by the UID of the owner that each should have.
func (b *bank) names() map[compile.Name]types.UID {
	return map[compile.Name]types.UID{
		{Space: internalv1alpha1.SpaceIdentity, Value: "bank"}:                     b.client.UID,
		{Space: internalv1alpha1.SpaceIdentity, Value: "bank-user"}:                b.user.UID,
		{Space: internalv1alpha1.SpaceUsername, Value: "bank"}:                     b.user.UID,
		{Space: internalv1alpha1.SpaceIdentity, Value: "https://bank.example.com"}: b.api.UID,
		{Space: internalv1alpha1.SpaceScope, Value: "bank:read"}:                   b.api.UID,
		{Space: internalv1alpha1.SpaceScope, Value: "bank:write"}:                  b.api.UID,
		{Space: internalv1alpha1.SpaceRealm, Value: bankRealm}:                     b.provider.UID,
	}
}

// keeps waits until each name has an owner and each object is served or refused, and fails the test
// if a name changed hands.
func (b *bank) keeps(when string) {
	b.t.Helper()
	for name, uid := range b.names() {
		var e *internalv1alpha1.Entry
		eventually.True(b.t, fmt.Sprintf("%s: %v is claimed", when, name), func() bool {
			e = b.entry(name.Space, name.Value)
			return e != nil
		})
		if e.Spec.Owner.UID != uid {
			b.t.Fatalf("%s: %v has changed hands: %+v has it", when, name, e.Spec.Owner)
		}
	}
	for _, owner := range []client.Object{b.client, b.user, b.api} {
		b.waitForCondition(owner, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	b.waitForCondition(b.provider, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	for _, c := range b.claimants {
		reason := v1alpha1.ReasonClientIDTaken
		switch c.(type) {
		case *v1alpha1.OAuthUser:
			reason = v1alpha1.ReasonSubjectTaken
		case *v1alpha1.ResourceServer:
			reason = v1alpha1.ReasonIdentifierTaken
		case *v1alpha1.IdentityProvider:
			reason = v1alpha1.ReasonRealmTaken
		}
		b.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason)
		if held := names.Of(c).Held; len(held) > 0 {
			b.t.Fatalf("%s: the status of one that is refused says that it holds %v", when, held)
		}
	}
}

// createServerAgain deletes the AuthorizationServer and creates it with the same spec.
func (b *bank) createServerAgain() {
	b.t.Helper()
	b.deleteObject(b.replica)
	b.deleteObject(b.server)
	b.startServer()
}

func TestEveryNameIsItsFormerOwnersWithADozenOlderRefusedClaimantsWaiting(t *testing.T) {
	b, stop := newBank(t)
	defer func() { stop() }()
	b.addClaimants(4)
	b.addOwners()
	b.allowRivals()
	for _, c := range b.claimants {
		switch c := c.(type) {
		case *v1alpha1.OAuthUser:
			updateObject(b.testEnv, c, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = nil })
		case *v1alpha1.IdentityProvider:
			updateObject(b.testEnv, c, func(p *v1alpha1.IdentityProvider) { p.Spec.Allow = "true" })
		}
	}
	b.keeps("before anything happens")

	for range 3 {
		for name := range b.names() {
			b.deleteObject(b.entry(name.Space, name.Value))
		}
		b.keeps("after Entries were deleted by hand")
	}
	for range 3 {
		b.createServerAgain()
		b.keeps("after the server was created again")
	}
	for range 2 {
		stop()
		b.deleteObject(b.replica)
		b.deleteObject(b.server)
		if err := admin.DeleteAllOf(t.Context(), &internalv1alpha1.Entry{}, client.InNamespace(b.identity)); err != nil {
			t.Fatal(err)
		}
		b.server.ResourceVersion, b.server.UID = "", ""
		create(t, b.server)
		b.replica = b.newReplica("main-0", maxResourceVersion)
		_, stop = runManager(t)
		b.keeps("after a manager found a server that was created again while none ran")
	}
	b.restore()
	b.keeps("after all was restored with its status")
}

// restore deletes everything and creates it with another UID and the former status, the refused
// ones first and the server last.
func (b *bank) restore() {
	b.t.Helper()
	b.deleteObject(b.replica)
	b.deleteObject(b.server)
	all := append(append([]client.Object{}, b.claimants...), b.client, b.user, b.api, b.provider)
	for _, o := range all {
		b.waitForCondition(o, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
		b.deleteObject(o)
	}
	if err := admin.DeleteAllOf(b.t.Context(), &internalv1alpha1.Entry{}, client.InNamespace(b.identity)); err != nil {
		b.t.Fatal(err)
	}
	for i, o := range all {
		if i == len(b.claimants) {
			time.Sleep(1100 * time.Millisecond)
		}
		saved := o.DeepCopyObject()
		o.SetUID("")
		o.SetResourceVersion("")
		create(b.t, o)
		for {
			b.get(o)
			switch o := o.(type) {
			case *v1alpha1.OAuthClient:
				o.Status = saved.(*v1alpha1.OAuthClient).Status
			case *v1alpha1.OAuthUser:
				o.Status = saved.(*v1alpha1.OAuthUser).Status
			case *v1alpha1.ResourceServer:
				o.Status = saved.(*v1alpha1.ResourceServer).Status
			case *v1alpha1.IdentityProvider:
				o.Status = saved.(*v1alpha1.IdentityProvider).Status
			}
			if admin.Status().Update(b.t.Context(), o) == nil {
				break
			}
		}
	}
	b.startServer()
}

func TestAnOwnerThatTheNewServerRefusesKeepsItsNameFromOthersUntilItIsDeleted(t *testing.T) {
	b, stop := newBank(t)
	defer func() { stop() }()
	b.addOwners()
	b.addClaimants(1)
	b.allowRivals()
	b.server.Spec.AllowedClients[0].ClientIDs, b.server.Spec.AllowedResourceServers[0].Scopes = nil, []string{"none"}
	b.createServerAgain()
	rival, api := b.claimants[0].(*v1alpha1.OAuthClient), b.claimants[1].(*v1alpha1.ResourceServer)
	for look := range 2 {
		if look > 0 {
			updateObject(b.testEnv, rival, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "again" })
			updateObject(b.testEnv, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes[0].Description = "again" })
		}
		b.waitForCondition(b.client, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		b.waitForCondition(b.api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		b.waitForCondition(rival, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
		b.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
	}
	if b.client.Status.ClientID != "bank" || b.api.Status.Identifier != bankAPI || len(b.api.Status.Scopes) != 2 {
		t.Errorf("their status says %q, %q and %q", b.client.Status.ClientID, b.api.Status.Identifier, b.api.Status.Scopes)
	}
	// They never held an Entry at this server, so none goes with them.
	b.deleteObject(b.client)
	b.waitForCondition(rival, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	b.deleteObject(b.api)
	b.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestOfThoseWhoWaitTheOldestThatIsAllowedGetsTheName(t *testing.T) {
	b, stop := newBank(t)
	defer func() { stop() }()
	b.addOwners()
	b.addClaimants(1) // and the rules never allow these
	var waiting []*v1alpha1.OAuthClient
	for range 3 {
		c := b.newClient(asking("bank"))
		b.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
		waiting = append(waiting, c)
		time.Sleep(1100 * time.Millisecond)
	}
	for _, next := range waiting {
		b.deleteObject(b.client)
		b.client = next
		b.waitForCondition(next, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if next.Status.ClientID != "bank" {
			t.Errorf("its status says %q", next.Status.ClientID)
		}
	}
}

// One that cannot be served for want of its other name keeps no name from others.
func TestAnObjectThatLacksItsOtherNameHoldsUpNoOther(t *testing.T) {
	env := newEnv(t)
	alice := env.readyUser("alice", "correct horse")
	stuck := env.newUser("stuck", "correct horse", subject("wanted"), username("Alice"))
	env.waitForCondition(stuck, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUsernameTaken)
	first := env.readyAPI(ordersAPI)
	second := env.newAPI(ordersAPI, "orders:read")
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
	time.Sleep(1100 * time.Millisecond)
	env.readyUser("bob", "correct horse", subject("wanted"))
	env.readyAPI("https://more.example.com", "orders:read")
	// Each gets the name that it lacked, and nothing else.
	env.deleteObject(alice)
	env.waitForCondition(stuck, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonSubjectTaken)
	env.deleteObject(first)
	env.waitForCondition(second, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonScopeTaken)
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

// watchLooks counts how often the managers that the test starts from now on ask the API server for
// one OAuthClient or one Entry, past their caches.
func watchLooks(t *testing.T) *atomic.Int32 {
	t.Helper()
	one, asked := regexp.MustCompile(`/(oauthclients|entries)/[^/]+$`), &atomic.Int32{}
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && one.MatchString(r.URL.Path) {
			asked.Add(1)
		}
		return next.RoundTrip(r)
	})
	return asked
}

// A tenant may apply thousands of clients that ask for one id. Each of them looks who has it.
func TestThoseThatAreRefusedAreNotLookedAtWhenOneOfThemChangesOrAnotherIsServed(t *testing.T) {
	const n = 20
	looks := watchLooks(t)
	env := newEnv(t)
	env.readyClient(asking("free-x"))
	var taken, refused []*v1alpha1.OAuthClient
	for range n {
		taken, refused = append(taken, env.newClient(asking("free-x"))), append(refused, env.newClient(asking("elsewhere.x")))
	}
	for i := range n {
		env.waitForCondition(taken[i], v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
		env.waitForCondition(refused[i], v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
	}
	time.Sleep(time.Second)
	for what, change := range map[string]func(){
		"one of them was removed": func() { env.deleteObject(taken[0]) },
		"one of them was edited": func() {
			updateObject(env, taken[1], func(c *v1alpha1.OAuthClient) { c.Spec.Consent = v1alpha1.ConsentSkip })
			env.waitForCondition(taken[1], v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		},
		"a token server has applied something": func() {
			updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = fmt.Sprint(time.Now().UnixNano()) })
		},
	} {
		before := looks.Load()
		change()
		time.Sleep(time.Second)
		if asked := looks.Load() - before; asked > n/2 {
			t.Errorf("%s: the API server was asked %d times", what, asked)
		}
	}
}

// Its namespace's people may write Replicas there, as their own token servers do.
func TestATokenServerOfAnotherNamespaceWakesNoServer(t *testing.T) {
	env := newEnv(t)
	op := &operator{Client: env.manager.GetClient()}
	own, theirs := env.replica.DeepCopy(), env.replica.DeepCopy()
	theirs.Namespace = env.apps
	if woken := op.mapReplicaToServer(t.Context(), own); len(woken) != 1 || woken[0] != client.ObjectKeyFromObject(env.server) {
		t.Errorf("its own wakes %v", woken)
	}
	if woken := op.mapReplicaToServer(t.Context(), theirs); len(woken) > 0 {
		t.Errorf("another's wakes %v", woken)
	}
}

// A scope is not kept from others by one that cannot have its identifier, since another object had
// that last and is refused now.
func TestAnObjectThatWaitsForAFormerOwnersNameHoldsUpNoOtherName(t *testing.T) {
	b, stop := newBank(t)
	defer func() { stop() }()
	b.addOwners()
	b.allowRivals()
	waiting := b.apiOf(b.rivals)
	waiting.Spec.Scopes = resourceScopes("more:read")
	create(t, waiting)
	b.waitForCondition(waiting, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
	time.Sleep(1100 * time.Millisecond)
	other := b.apiOf(b.apps)
	other.Spec.Identifier, other.Spec.Scopes = "https://more.example.com", resourceScopes("more:read")
	create(t, other)
	b.waitForCondition(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	b.deleteObject(other)
	b.server.Spec.AllowedResourceServers[0].Scopes = []string{"more:*"} // the bank's are refused
	b.createServerAgain()
	b.waitForCondition(waiting, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
	again := b.apiOf(b.apps)
	again.Spec.Identifier, again.Spec.Scopes = "https://more.example.com", resourceScopes("more:read")
	create(t, again)
	b.waitForCondition(again, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A user who lacks the subject keeps no username from others. When another object gets the subject,
// its Entry may come to the manager after everything else that tells of it.
func TestAnObjectBehindOneThatLostItsNameIsLookedAtWhenTheEntryIsSeen(t *testing.T) {
	api := delayAPI(t, "/entries")
	env := newEnv(t)
	invalid := func(u *v1alpha1.OAuthUser) { u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"iss":"x"}`)} }
	loser := env.newUser("loser", "correct horse", subject("wanted"), username("name"), invalid)
	env.waitForCondition(loser, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	time.Sleep(1100 * time.Millisecond) // creationTimestamp counts seconds
	waiting := env.readyUser("waiting", "correct horse")
	time.Sleep(time.Second) // its Entries have come to the manager

	api.set(true, "/oauthusers/winner/status")
	env.newUser("winner", "correct horse", subject("wanted"))
	eventually.True(t, "the winner has the Entry", func() bool { return env.entry(internalv1alpha1.SpaceIdentity, "wanted") != nil })
	updateObject(env, loser, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = nil })
	env.waitForCondition(loser, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonSubjectTaken)
	updateObject(env, waiting, username("name"))
	env.waitForCondition(waiting, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUsernameTaken)
	api.set(true, "")
	winner := &v1alpha1.OAuthUser{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "winner"}}
	env.waitForCondition(winner, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	time.Sleep(time.Second)
	api.set(false, "")
	env.waitForCondition(waiting, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
