package controllers

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/documented"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

var longAgo = time.Unix(1_700_000_000, 0)

func apiCondition(name, status, reason string, since time.Time) metav1.Condition {
	return metav1.Condition{Type: name, Status: metav1.ConditionStatus(status), Reason: reason, LastTransitionTime: metav1.NewTime(since)}
}

func clientWith(conditions ...metav1.Condition) v1alpha1.OAuthClient {
	return v1alpha1.OAuthClient{Status: v1alpha1.OAuthClientStatus{Conditions: conditions}}
}

// sample returns what a function collects: values by "metric label=value label=value".
func sample(t *testing.T, collect func(chan<- prometheus.Metric)) map[string]float64 {
	t.Helper()
	out := make(chan prometheus.Metric, 100)
	collect(out)
	close(out)
	values := map[string]float64{}
	for metric := range out {
		var written dto.Metric
		if err := metric.Write(&written); err != nil {
			t.Fatal(err)
		}
		key, _, _ := strings.Cut(strings.TrimPrefix(metric.Desc().String(), `Desc{fqName: "oauth_operator_`), `"`)
		for _, label := range written.GetLabel() {
			key += " " + label.GetName() + "=" + label.GetValue()
		}
		values[key] = written.GetGauge().GetValue()
	}
	return values
}

func TestMetricsCountConditionsAndSayWhichIsTheOldest(t *testing.T) {
	list := &v1alpha1.OAuthClientList{Items: []v1alpha1.OAuthClient{
		clientWith(apiCondition("Ready", "False", "WeakSecret", longAgo.Add(time.Hour)), apiCondition("Accepted", "True", "Accepted", longAgo)),
		clientWith(apiCondition("Ready", "False", "WeakSecret", longAgo)),
		clientWith(apiCondition("Ready", "Unknown", "Pending", time.Time{})),
		clientWith(apiCondition("Ready", "False", "written by a user", longAgo), apiCondition("Made-up", "True", "X", longAgo)),
	}}
	got := sample(t, func(out chan<- prometheus.Metric) {
		newObjectMetrics(nil).collectConditions(out, compile.KindClient, list)
	})
	at := float64(longAgo.Unix())
	const of = " condition=Ready kind=OAuthClient"
	want := map[string]float64{
		"objects kind=OAuthClient": 4,
		"conditions condition=Accepted kind=OAuthClient reason=Accepted status=True":                                    1,
		"condition_oldest_transition_timestamp_seconds condition=Accepted kind=OAuthClient reason=Accepted status=True": at,
		"conditions" + of + " reason=WeakSecret status=False":                                                           2,
		"condition_oldest_transition_timestamp_seconds" + of + " reason=WeakSecret status=False":                        at,
		"conditions" + of + " reason=Pending status=Unknown":                                                            1,
		"conditions" + of + " reason=Other status=False":                                                                1,
		"condition_oldest_transition_timestamp_seconds" + of + " reason=Other status=False":                             at,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMetricsSayHowOldCredentialsAndKeysAre(t *testing.T) {
	old, recent := metav1.NewTime(longAgo), metav1.NewTime(longAgo.Add(time.Hour))
	clients := []v1alpha1.OAuthClient{
		{Status: v1alpha1.OAuthClientStatus{NextRotation: &recent, Credentials: []v1alpha1.CredentialStatus{
			{ID: "a", State: "Active", NotBefore: &recent}, {ID: "b", State: "Retiring", NotBefore: &old},
		}}},
		{Status: v1alpha1.OAuthClientStatus{NextRotation: &old, Credentials: []v1alpha1.CredentialStatus{
			{ID: "c", State: "Active", NotBefore: &old}, {ID: "d", State: "Active"},
		}}},
	}
	servers := []v1alpha1.AuthorizationServer{{Status: v1alpha1.AuthorizationServerStatus{Keys: []v1alpha1.KeyStatus{
		{KID: "a", Algorithm: "ES256", Phase: "Active", Since: recent}, {KID: "b", Algorithm: "ES256", Phase: "Active", Since: old},
		{KID: "c", Algorithm: "XC20P", Phase: "Retiring", Since: recent},
	}}}}
	got := sample(t, func(out chan<- prometheus.Metric) {
		m := newObjectMetrics(nil)
		m.collectClients(out, clients)
		m.collectKeys(out, servers)
	})
	at := float64(longAgo.Unix())
	want := map[string]float64{
		"legacy_grant_clients grant_type=implicit": 0, "legacy_grant_clients grant_type=password": 0,
		"next_oauthclient_rotation_timestamp_seconds": at,
		"oauthclient_credentials state=Active":        3, "oldest_oauthclient_credential_timestamp_seconds state=Active": at,
		"oauthclient_credentials state=Retiring": 1, "oldest_oauthclient_credential_timestamp_seconds state=Retiring": at,
		"oldest_key_timestamp_seconds algorithm=ES256 phase=Active":   at,
		"oldest_key_timestamp_seconds algorithm=XC20P phase=Retiring": at + 3600,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMetricsSayHowClientsAuthenticateAndWhenALegacyGrantEnds(t *testing.T) {
	old, recent := metav1.NewTime(longAgo), metav1.NewTime(longAgo.Add(time.Hour))
	basic := func(since metav1.Time) *v1alpha1.AuthenticationStatus {
		return &v1alpha1.AuthenticationStatus{Method: "client_secret_basic", Since: since}
	}
	password := v1alpha1.OAuthClientSpec{GrantTypes: []v1alpha1.GrantType{"password"}}
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: longAgo.Add(d)} }
	clients := []v1alpha1.OAuthClient{
		{Spec: password, Status: v1alpha1.OAuthClientStatus{Authentication: basic(recent), LegacyUntil: at(3 * time.Hour)}},
		{Spec: password, Status: v1alpha1.OAuthClientStatus{Authentication: basic(old), LegacyUntil: at(2 * time.Hour)}},
		{Spec: password, Status: v1alpha1.OAuthClientStatus{Authentication: basic(recent), LegacyUntil: at(time.Minute)}}, // has ended
		{Status: v1alpha1.OAuthClientStatus{Authentication: &v1alpha1.AuthenticationStatus{Method: "telepathy", Since: old}}},
	}
	got := sample(t, func(out chan<- prometheus.Metric) {
		newObjectMetrics(nil).collectConstraints(out, clients, longAgo.Add(time.Hour))
	})
	want := map[string]float64{
		"auth_method_clients auth_method=client_secret_basic":                  3,
		"oldest_auth_method_timestamp_seconds auth_method=client_secret_basic": float64(longAgo.Unix()),
		"auth_method_clients auth_method=Other":                                1,
		"oldest_auth_method_timestamp_seconds auth_method=Other":               float64(longAgo.Unix()),
		"legacy_grant_until_timestamp_seconds grant_type=password":             float64(longAgo.Add(2 * time.Hour).Unix()),
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMetricsCountTheReplicasThatLive(t *testing.T) {
	env := newEnv(t)
	env.readyClient()
	if n := gauge(t, "oauth_operator_replicas", map[string]string{"ready": "true"}); n < 1 {
		t.Errorf("%v replicas are ready", n)
	}
}

func TestEveryMetricOfTheManagerIsDocumented(t *testing.T) {
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].LegacyUntil = inSeconds(3600) })
	env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes = []v1alpha1.GrantType{"password"}
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}}}
	})
	eventually.True(t, "the cache has the client", func() bool {
		return gauge(t, "oauth_operator_next_oauthclient_rotation_timestamp_seconds", nil) > 0 &&
			gauge(t, "oauth_operator_legacy_grant_until_timestamp_seconds", map[string]string{"grant_type": "password"}) > 0
	})
	families, err := metrics.Registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	documented.CheckMetrics(t, "monitoring.md", "## Metrics of the manager", families)
}
