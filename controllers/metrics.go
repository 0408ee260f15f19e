package controllers

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// objectMetrics computes metrics from what the cache holds at the time of a scrape, so that no
// number can drift. Every manager has a cache, so all of them report the same numbers, whether they
// lead or not. Their labels have values from fixed sets: objects are counted and never named.
type objectMetrics struct {
	operator *operator

	objects, conditions, transitions *prometheus.Desc
	legacy, legacyEnd                *prometheus.Desc
	authMethods, oldestAuthMethod    *prometheus.Desc
	replicas                         *prometheus.Desc
	credentials, oldestCredential    *prometheus.Desc
	nextRotation                     *prometheus.Desc
	oldestKey                        *prometheus.Desc
}

func registerMetrics(op *operator) error { return metrics.Registry.Register(newObjectMetrics(op)) }

func newObjectMetrics(op *operator) *objectMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("oauth_operator_"+name, help, labels, nil)
	}
	return &objectMetrics{
		operator: op,
		objects:  describe("objects", "Objects by kind.", "kind"),
		conditions: describe("conditions",
			"Objects by kind and by what their conditions say. A reason that the operator does not document is Other.",
			"kind", "condition", "status", "reason"),
		transitions: describe("condition_oldest_transition_timestamp_seconds",
			"When the condition that has had its status for longest got it, among the objects that oauth_operator_conditions counts.",
			"kind", "condition", "status", "reason"),
		legacy: describe("legacy_grant_clients", "OAuthClients by a grant type that RFC 9700 advises against.", "grant_type"),
		legacyEnd: describe("legacy_grant_until_timestamp_seconds",
			"When a rule of an AuthorizationServer next ends a grant type that RFC 9700 advises against for an OAuthClient that lists it.", "grant_type"),
		authMethods: describe("auth_method_clients", "OAuthClients by how they authenticate at the token endpoint.", "auth_method"),
		oldestAuthMethod: describe("oldest_auth_method_timestamp_seconds",
			"When the OAuthClient that has authenticated in a way for longest began to.", "auth_method"),
		replicas: describe("replicas",
			"Replicas of token servers that were heard of in the last 30 seconds, by whether they are ready.", "ready"),
		credentials: describe("oauthclient_credentials", "Credentials of OAuthClients, by state.", "state"),
		oldestCredential: describe("oldest_oauthclient_credential_timestamp_seconds",
			"When the oldest credential of an OAuthClient began to be valid, by state.", "state"),
		nextRotation: describe("next_oauthclient_rotation_timestamp_seconds",
			"When the secret of an OAuthClient with a rotation interval is to be replaced next. A time in the past is overdue."),
		oldestKey: describe("oldest_key_timestamp_seconds",
			"When the key of an AuthorizationServer that has been in its phase for longest entered it. XC20P keys seal, the others sign.",
			"algorithm", "phase"),
	}
}

// Describe implements prometheus.Collector.
func (m *objectMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.objects, m.conditions, m.transitions, m.legacy, m.legacyEnd, m.authMethods, m.oldestAuthMethod, m.replicas, m.credentials, m.oldestCredential, m.nextRotation, m.oldestKey,
	} {
		out <- desc
	}
}

// Collect implements prometheus.Collector. What cannot be read from the cache is left out.
func (m *objectMetrics) Collect(out chan<- prometheus.Metric) {
	for kind, list := range map[string]client.ObjectList{
		compile.KindServer: &v1alpha1.AuthorizationServerList{}, compile.KindClient: &v1alpha1.OAuthClientList{},
		compile.KindUser: &v1alpha1.OAuthUserList{}, compile.KindIdentity: &v1alpha1.OAuthIdentityList{}, compile.KindResourceServer: &v1alpha1.ResourceServerList{},
		compile.KindIdentityProvider: &v1alpha1.IdentityProviderList{},
	} {
		if err := m.operator.List(context.Background(), list, client.UnsafeDisableDeepCopy); err != nil {
			continue
		}
		m.collectConditions(out, kind, list)
		switch list := list.(type) {
		case *v1alpha1.OAuthClientList:
			m.collectClients(out, list.Items)
			m.collectConstraints(out, list.Items, m.operator.now())
		case *v1alpha1.AuthorizationServerList:
			m.collectKeys(out, list.Items)
		}
	}
	m.collectReplicas(out)
}

// oldest counts times by labels, and keeps the earliest. The zero time is not known.
type oldest[L comparable] map[L]struct {
	count int
	at    time.Time
}

func (o oldest[L]) add(labels L, at time.Time) {
	seen := o[labels]
	seen.count++
	seen.at = earliest(seen.at, at)
	o[labels] = seen
}

// write writes how many there are, and the earliest time.
func (o oldest[L]) write(out chan<- prometheus.Metric, count, at *prometheus.Desc, values func(L) []string) {
	for labels, seen := range o {
		if count != nil {
			out <- prometheus.MustNewConstMetric(count, prometheus.GaugeValue, float64(seen.count), values(labels)...)
		}
		if !seen.at.IsZero() {
			out <- prometheus.MustNewConstMetric(at, prometheus.GaugeValue, float64(seen.at.Unix()), values(labels)...)
		}
	}
}

type conditionLabels struct{ condition, status, reason string }

func (m *objectMetrics) collectConditions(out chan<- prometheus.Metric, kind string, list client.ObjectList) {
	found := oldest[conditionLabels]{}
	objects := 0
	_ = meta.EachListItem(list, func(object runtime.Object) error { // it returns what the function does
		objects++
		for _, c := range conditionsOf(object) {
			if slices.Contains(conditionTypes, c.Type) {
				found.add(conditionLabels{c.Type, labelValue(string(c.Status), conditionStatuses), labelValue(c.Reason, conditionReasons)}, c.LastTransitionTime.Time)
			}
		}
		return nil
	})
	out <- prometheus.MustNewConstMetric(m.objects, prometheus.GaugeValue, float64(objects), kind)
	found.write(out, m.conditions, m.transitions, func(l conditionLabels) []string {
		return []string{kind, l.condition, l.status, l.reason}
	})
}

func (m *objectMetrics) collectClients(out chan<- prometheus.Metric, clients []v1alpha1.OAuthClient) {
	byGrant := map[string]int{string(v1alpha1.GrantTypeImplicit): 0, string(v1alpha1.GrantTypePassword): 0}
	credentials, rotations := oldest[string]{}, oldest[struct{}]{}
	for i := range clients {
		for _, grant := range compile.LegacyGrants(&clients[i]) {
			byGrant[grant]++
		}
		if next := clients[i].Status.NextRotation; next != nil {
			rotations.add(struct{}{}, next.Time)
		}
		for _, c := range clients[i].Status.Credentials {
			var created time.Time
			if c.NotBefore != nil {
				created = c.NotBefore.Time
			}
			credentials.add(labelValue(string(c.State), credentialStates), created)
		}
	}
	for grant, n := range byGrant {
		out <- prometheus.MustNewConstMetric(m.legacy, prometheus.GaugeValue, float64(n), grant)
	}
	rotations.write(out, nil, m.nextRotation, func(struct{}) []string { return nil })
	credentials.write(out, m.credentials, m.oldestCredential, func(state string) []string { return []string{state} })
}

// collectConstraints collects how clients authenticate, and when a legacy grant of theirs ends next.
func (m *objectMetrics) collectConstraints(out chan<- prometheus.Metric, clients []v1alpha1.OAuthClient, now time.Time) {
	methods, ends := oldest[string]{}, oldest[string]{}
	for i := range clients {
		method, since := authMethodOf(&clients[i])
		methods.add(labelValue(method, authMethods), since.Time)
		if until := clients[i].Status.LegacyUntil; until != nil && until.After(now) {
			for _, grant := range compile.LegacyGrants(&clients[i]) {
				ends.add(grant, until.Time)
			}
		}
	}
	methods.write(out, m.authMethods, m.oldestAuthMethod, func(method string) []string { return []string{method} })
	ends.write(out, nil, m.legacyEnd, func(grant string) []string { return []string{grant} })
}

type keyLabels struct{ algorithm, phase string }

func (m *objectMetrics) collectKeys(out chan<- prometheus.Metric, servers []v1alpha1.AuthorizationServer) {
	keys := oldest[keyLabels]{}
	for i := range servers {
		for _, k := range servers[i].Status.Keys {
			keys.add(keyLabels{labelValue(k.Algorithm, keyAlgorithms), labelValue(string(k.Phase), keyPhases)}, k.Since.Time)
		}
	}
	keys.write(out, nil, m.oldestKey, func(l keyLabels) []string { return []string{l.algorithm, l.phase} })
}

func (m *objectMetrics) collectReplicas(out chan<- prometheus.Metric) {
	var list internalv1alpha1.ReplicaList
	if err := m.operator.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	byReady := map[bool]int{true: 0, false: 0}
	for _, r := range m.operator.filterLive(list.Items) {
		byReady[r.Spec.Ready]++
	}
	for ready, n := range byReady {
		out <- prometheus.MustNewConstMetric(m.replicas, prometheus.GaugeValue, float64(n), strconv.FormatBool(ready))
	}
}
