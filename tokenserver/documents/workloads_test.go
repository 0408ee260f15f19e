package documents

import "testing"

func TestAnIdentityIsAnIssuerAndASubject(t *testing.T) {
	cluster := WorkloadIssuer{Name: "cluster", Type: WorkloadIssuerKubernetes}
	ci := WorkloadIssuer{Name: "ci", Type: WorkloadIssuerJWT}
	const subject = "system:serviceaccount:shop:web"
	for _, test := range []struct {
		identity WorkloadIdentity
		issuer   WorkloadIssuer
		subject  string
		uid      string
		want     bool
	}{
		{WorkloadIdentity{Subject: subject}, cluster, subject, "u1", true},
		{WorkloadIdentity{Subject: subject, UID: "u1"}, cluster, subject, "u1", true},
		{WorkloadIdentity{Subject: subject, UID: "u1"}, cluster, subject, "u2", false},
		{WorkloadIdentity{Subject: subject, UID: "u1"}, cluster, subject, "", false},
		{WorkloadIdentity{Subject: subject}, ci, subject, "u1", false},
		{WorkloadIdentity{Subject: subject}, cluster, subject + "2", "u1", false},
		{WorkloadIdentity{Issuer: "ci", Subject: subject}, ci, subject, "", true},
		{WorkloadIdentity{Issuer: "ci", Subject: subject}, cluster, subject, "", false},
		{WorkloadIdentity{}, cluster, "", "", false},
	} {
		if got := test.identity.Is(test.issuer, test.subject, test.uid); got != test.want {
			t.Errorf("%+v is %q of %q with UID %q: %v", test.identity, test.subject, test.issuer.Name, test.uid, got)
		}
	}
}

func TestTheNamespaceOfAServiceAccountIsInItsSubject(t *testing.T) {
	if namespace, ok := ServiceAccountNamespace(ServiceAccountSubject("shop", "web")); !ok || namespace != "shop" {
		t.Errorf("%q, %v", namespace, ok)
	}
	for _, subject := range []string{"", "system:serviceaccount:", "system:serviceaccount:shop", "system:serviceaccount:shop:", "system:serviceaccount::web", "repo:a:b"} {
		if namespace, ok := ServiceAccountNamespace(subject); ok {
			t.Errorf("%q is a ServiceAccount of namespace %q", subject, namespace)
		}
	}
}
