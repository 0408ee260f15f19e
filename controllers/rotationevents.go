package controllers

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Reasons of the events about the credentials of a client.
const (
	reasonSecretRotated     = "SecretRotated"
	reasonCredentialEnded   = "CredentialEnded"
	reasonCredentialRevoked = "CredentialRevoked"
	reasonCredentialInUse   = "CredentialInUse"
	reasonAuthMethodEnded   = "AuthMethodEnded"
)

// recordRotation records the events about what a plan did, when it is done. credentials are those
// of the client now.
func (r *clientReconciler) recordRotation(c *v1alpha1.OAuthClient, plan credentialPlan, credentials []documents.Credential) {
	if plan.cause.isSet() {
		text := fmt.Sprintf("the client has another secret, since %s", plan.cause.text)
		for _, credential := range credentials {
			if credential.State == documents.CredentialRetiring { // the first was replaced last
				text += fmt.Sprintf("; credential %s, from before, is good until %s at the latest", credential.ID, timeText(time.Unix(credential.RetireAfter, 0)))
				break
			}
		}
		r.events.Eventf(c, nil, corev1.EventTypeNormal, reasonSecretRotated, eventAction, "%s", truncate(text, maxNote))
	}
	for i, credential := range plan.ended {
		if i >= len(plan.ended)-len(plan.surplus) {
			r.events.Eventf(c, nil, corev1.EventTypeWarning, reasonCredentialEnded, eventAction,
				"credential %s ends before its time, since no more than %d secrets of a client are good at a time: rotate less often", credential.ID, maxGoodCredentials)
			continue
		}
		r.events.Eventf(c, nil, corev1.EventTypeNormal, reasonCredentialEnded, eventAction, "credential %s, which was replaced, has ended", credential.ID)
	}
}

// recordStillUsed records an event, once, about a credential that ends soon and is still used.
func (r *clientReconciler) recordStillUsed(c *v1alpha1.OAuthClient, credential documents.Credential) {
	if !r.usageReports.addWarning(credential.ID, time.Unix(credential.RetireAfter, 0)) {
		return
	}
	r.events.Eventf(c, nil, corev1.EventTypeWarning, reasonCredentialInUse, eventAction,
		"credential %s, which was replaced, ends at %s and is still used: have the application read the Secret again, or restart its Pods",
		credential.ID, timeText(time.Unix(credential.RetireAfter, 0)))
}

// recordRefusedMethod records an event if a rule has ended the method before of a client, whose
// owner counts on the overlap: text says which and why.
func (r *clientReconciler) recordRefusedMethod(c *v1alpha1.OAuthClient, text string) {
	if text != "" {
		r.events.Eventf(c, nil, corev1.EventTypeWarning, reasonAuthMethodEnded, eventAction, "%s", truncate(text, maxNote))
	}
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
