package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// inSeconds returns a time that is so many seconds from now, as manifests have it.
func inSeconds(n int) *metav1.Time {
	t := metav1.NewTime(time.Now().UTC().Truncate(time.Second).Add(time.Duration(n) * time.Second))
	return &t
}

func TestTheConditionSaysWhenALegacyGrantEndsFromThirtyDaysBefore(t *testing.T) {
	end := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
	d := policy.Decision{Accepted: true, Rule: "mainframe", LegacyUntil: end.Unix()}
	for _, test := range []struct {
		now     time.Time
		reason  string
		changes time.Time
	}{
		{end.AddDate(0, 0, -31), v1alpha1.ReasonLegacyGrant, end.AddDate(0, 0, -30)},
		{end.AddDate(0, 0, -30), v1alpha1.ReasonLegacyGrantEnding, end},
		{end.Add(-time.Second), v1alpha1.ReasonLegacyGrantEnding, end},
		{end, v1alpha1.ReasonLegacyGrantEnded, time.Time{}},
		{end.AddDate(1, 0, 0), v1alpha1.ReasonLegacyGrantEnded, time.Time{}},
	} {
		c, changes := legacyGrant{grants: []string{"password"}, decision: d}.condition(test.now)
		if !c.isTrue() || c.reason != test.reason || !changes.Equal(test.changes) {
			t.Errorf("at %v: %+v, changes at %v", test.now, c, changes)
		}
		for _, want := range []string{`"mainframe"`, "password", "2027-06-30T00:00:00Z"} {
			if !strings.Contains(c.message, want) {
				t.Errorf("at %v the message lacks %s: %s", test.now, want, c.message)
			}
		}
	}
	if c, _ := (legacyGrant{decision: d}).condition(end); c.isSet() {
		t.Errorf("of a client without such a grant: %+v", c)
	}
}

func TestALegacyGrantEndsWithoutAWriteAndIsSaidOnce(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes = []v1alpha1.GrantType{"password", "client_credentials"}
	})
	other := env.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.GrantTypes = []v1alpha1.GrantType{"password"} })
	until := inSeconds(6)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].LegacyUntil = until })
	message := env.waitForCondition(c, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrantEnding)
	if !strings.Contains(message, `"apps"`) || !strings.Contains(message, until.Format(time.RFC3339)) {
		t.Error(message)
	}
	if !c.Status.LegacyUntil.Equal(until) {
		t.Errorf("status.legacyUntil is %v", c.Status.LegacyUntil)
	}
	eventually.True(t, "the metric has the time", func() bool {
		return gauge(t, "oauth_operator_legacy_grant_until_timestamp_seconds", map[string]string{"grant_type": "password"}) == float64(until.Unix())
	})
	env.waitForCondition(c, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrantEnded)
	if time.Now().Before(until.Time) {
		t.Error("it has ended before its time")
	}
	env.waitForCondition(other, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrantEnded)
	env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	eventually.True(t, "the server counts it", func() bool {
		env.get(env.server)
		grants := env.server.Status.LegacyGrants
		return len(grants) == 1 && grants[0].GrantType == "password" && grants[0].Clients == 2 && grants[0].Until.Equal(until)
	})
	eventually.True(t, "there is one event before and one at the end", func() bool {
		count := func(prefix string) (n int) {
			for _, e := range env.eventsOf(c) {
				if strings.HasPrefix(e, prefix) {
					n++
				}
			}
			return n
		}
		return count("Warning LegacyGrantEnding ") == 1 && count("Warning LegacyGrantEnded ") == 1
	})
}

func TestARuleThatTakesALegacyGrantOverIsNamedInTheEventsBeforeAndAfter(t *testing.T) {
	env := newEnv(t)
	until := inSeconds(6)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		open := *s.Spec.AllowedClients[0].DeepCopy()
		open.Name = "open"
		s.Spec.AllowedClients[0].LegacyUntil, s.Spec.AllowedClients[0].Groups = until, []string{"ops"}
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, open)
	})
	c := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.GrantTypes = []v1alpha1.GrantType{"password"} })
	const takes = `rule "open" allows it and may let users sign in whom rule "apps" does not`
	if message := env.waitForCondition(c, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrantEnding); !strings.Contains(message, "; from then on "+takes) {
		t.Error(message)
	}
	if message := env.waitForCondition(c, v1alpha1.ConditionLegacyGrant, metav1.ConditionTrue, v1alpha1.ReasonLegacyGrant); !strings.Contains(message, `, when rule "apps" ended it, `+takes) {
		t.Error(message)
	}
	eventually.True(t, "there is an event before and one after", func() bool {
		events := strings.Join(env.eventsOf(c), "\n")
		return strings.Contains(events, "from then on "+takes) && strings.Contains(events, "ended it, "+takes)
	})
}

func TestARuleThatForbidsSharedSecretsRefusesARunningClientByItsName(t *testing.T) {
	env := newEnv(t)
	counted := func(method string) float64 { // the manager counts those of other tests too
		return max(gauge(t, "oauth_operator_auth_method_clients", map[string]string{"auth_method": method}), 0)
	}
	before := map[string]float64{"client_secret_basic": counted("client_secret_basic"), "none": counted("none")}
	c := env.readyClient()
	public := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.TokenEndpointAuthMethod = []v1alpha1.GrantType{"authorization_code"}, v1alpha1.AuthMethodNone
		c.Spec.RedirectURIs = []string{"https://app.example.com/callback"}
	})
	eventually.True(t, "the server counts how they authenticate", func() bool {
		env.get(env.server)
		return slices.EqualFunc(env.server.Status.AuthMethods, []string{"client_secret_basic 1", "none 1"},
			func(use v1alpha1.AuthMethodUse, want string) bool {
				return fmt.Sprint(use.Method, " ", use.Clients) == want && use.Since != nil
			})
	})
	for method, others := range before {
		eventually.True(t, "the metric counts them", func() bool { return counted(method) == others+1 })
	}
	if since := c.Status.Authentication; since == nil || since.Method != "client_secret_basic" || !since.Since.Equal(&c.CreationTimestamp) {
		t.Errorf("status.authentication is %+v", since)
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].TokenEndpointAuthMethods = []v1alpha1.AuthMethodPattern{"WorkloadIdentity", "none"}
	})
	message := env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
	for _, want := range []string{`"apps"`, "tokenEndpointAuthMethod", `"client_secret_basic"`, "WorkloadIdentity, none"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message lacks %s: %s", want, message)
		}
	}
	env.waitForCondition(public, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].TokenEndpointAuthMethods = []v1alpha1.AuthMethodPattern{v1alpha1.AuthMethodAny}
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestTheStatusSaysSinceWhenAClientHasItsMethod(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	env.clock.move(time.Hour)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := c.Status.Authentication; got.Method != "client_secret_post" || time.Until(got.Since.Time).Abs() < 30*time.Minute {
		t.Errorf("status.authentication is %+v", got)
	}
	before := c.Status.Authentication.Since
	env.clock.move(time.Hour)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !c.Status.Authentication.Since.Equal(&before) {
		t.Error("another change of the client counts as a change of its method")
	}
}

func TestATokensNotBeforeInTheFutureIsSaidUntilItComes(t *testing.T) {
	env := newEnv(t)
	c, u := env.readyClient(), env.newUser("alice", "correct horse")
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	at := inSeconds(5)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TokensNotBefore = at })
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokensNotBefore = at })
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.TokensNotBefore = at })
	objects := []client.Object{env.server, c, u}
	for _, o := range objects {
		message := env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if !strings.Contains(message, "spec.tokensNotBefore is in the future") || !strings.Contains(message, at.Format(time.RFC3339)) {
			t.Errorf("%T: %s", o, message)
		}
	}
	for _, o := range objects {
		eventually.True(t, "the message says no more of it", func() bool {
			return !strings.Contains(env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady), "tokensNotBefore")
		})
	}
	if doc := env.document(c); doc.TokensNotBefore != at.Unix() {
		t.Errorf("the client's document has %d", doc.TokensNotBefore)
	}
}

func TestASuspendedUserIsNotReadyAndKeepsEverything(t *testing.T) {
	env := newEnv(t)
	u := env.newUser("alice", "correct horse")
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	read := func() documents.User {
		doc, err := decodeEntry[documents.User](env.entry(internalv1alpha1.SpaceIdentity, u.Status.Subject))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	before := read()
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Suspended = true })
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	if after := read(); !after.Suspended || after.Epoch != before.Epoch || after.PasswordHash != before.PasswordHash {
		t.Errorf("the document was %+v and is %+v", before, after)
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Suspended = false })
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if e := env.entry(internalv1alpha1.SpaceIdentity, u.Status.Subject); e.Spec.Format != documents.FormatUser || read().Suspended {
		t.Errorf("the document is %s %s", e.Spec.Format, e.Spec.Document)
	}
}

// A token server that cannot read a field that narrows would go on without it, or without the
// object. So it keeps the document that it has, and the object says so.
func TestAFieldThatNarrowsWaitsForEveryTokenServerThatCannotReadIt(t *testing.T) {
	for name, change := range map[string]func(env *testEnv) (o client.Object, identity string){
		"tokensNotBefore of the server": func(env *testEnv) (client.Object, string) {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TokensNotBefore = inSeconds(-1) })
			return env.server, env.server.Spec.Issuer
		},
		"tokenEndpointAuthMethods": func(env *testEnv) (client.Object, string) {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
				s.Spec.AllowedClients[0].TokenEndpointAuthMethods = []v1alpha1.AuthMethodPattern{"none"}
			})
			return env.server, env.server.Spec.Issuer
		},
		"legacyUntil": func(env *testEnv) (client.Object, string) {
			updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].LegacyUntil = inSeconds(-1) })
			return env.server, env.server.Spec.Issuer
		},
		"tokensNotBefore of a client": func(env *testEnv) (client.Object, string) {
			c := env.readyClient()
			updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokensNotBefore = inSeconds(-1) })
			return c, c.Status.ClientID
		},
		"a method that was changed": func(env *testEnv) (client.Object, string) {
			c := env.readyClient()
			updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
			return c, c.Status.ClientID
		},
		"tokensNotBefore of a user": func(env *testEnv) (client.Object, string) {
			u := env.newUser("alice", "correct horse")
			env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.TokensNotBefore = inSeconds(-1) })
			return u, u.Status.Subject
		},
		"suspended of a user": func(env *testEnv) (client.Object, string) {
			u := env.newUser("alice", "correct horse")
			env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Suspended = true })
			return u, u.Status.Subject
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			old := env.newReplica("old-0", maxResourceVersion, func(r *internalv1alpha1.Replica) {
				r.Spec.Formats = slices.DeleteFunc(documents.Formats(), func(f string) bool {
					return strings.HasSuffix(f, "/v2") || strings.HasSuffix(f, "/v3")
				})
			})
			env.keepRenewing(old)
			o, identity := change(env)
			message := env.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
			if !strings.Contains(message, "old-0") || !strings.Contains(message, "/v2") {
				t.Error(message)
			}
			if e := env.entry(internalv1alpha1.SpaceIdentity, identity); !strings.HasSuffix(e.Spec.Format, "/v1") {
				t.Errorf("written: %+v", e.Spec)
			}
			updateObject(env, old, func(r *internalv1alpha1.Replica) { r.Spec.Formats = documents.Formats() }) // it was upgraded
			eventually.True(t, "the document is written", func() bool {
				return strings.HasSuffix(env.entry(internalv1alpha1.SpaceIdentity, identity).Spec.Format, "/v2")
			})
		})
	}
}
