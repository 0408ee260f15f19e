package controllers

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// The values that labels of metrics may have.
var (
	credentialStates = []string{documents.CredentialPending, documents.CredentialActive, documents.CredentialRetiring}
	authMethods      = []string{
		oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost, "private_key_jwt", "WorkloadIdentity", oauth.AuthMethodNone,
	}
	keyAlgorithms     = []string{string(v1alpha1.AlgorithmES256), string(v1alpha1.AlgorithmRS256), documents.AlgorithmSealing}
	keyPhases         = []string{documents.KeyPublished, documents.KeyActive, documents.KeyRetiring}
	conditionStatuses = []string{string(metav1.ConditionTrue), string(metav1.ConditionFalse), string(metav1.ConditionUnknown)}
)

// conditionTypes are those of package v1alpha1, conditionReasons its reasons.
var conditionTypes = []string{
	v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionCredentialsReady,
	v1alpha1.ConditionProgrammed, v1alpha1.ConditionDeployed, v1alpha1.ConditionAvailable,
	v1alpha1.ConditionKeysCurrent, v1alpha1.ConditionReady, v1alpha1.ConditionStalled,
	v1alpha1.ConditionLegacyGrant,
}

var conditionReasons = []string{
	v1alpha1.ReasonAccepted, v1alpha1.ReasonResolvedRefs, v1alpha1.ReasonProgrammed,
	v1alpha1.ReasonDeployed, v1alpha1.ReasonAvailable, v1alpha1.ReasonReady, v1alpha1.ReasonPending,
	v1alpha1.ReasonRefused, v1alpha1.ReasonFailed, v1alpha1.ReasonServerNotFound,
	v1alpha1.ReasonServerNotAccepted, v1alpha1.ReasonNotAllowedByServer, v1alpha1.ReasonInvalid,
	v1alpha1.ReasonSuspended, v1alpha1.ReasonIssuerTaken, v1alpha1.ReasonClientIDTaken,
	v1alpha1.ReasonAudienceIsAPIServer, v1alpha1.ReasonSubjectTaken, v1alpha1.ReasonUsernameTaken,
	v1alpha1.ReasonIdentifierTaken, v1alpha1.ReasonScopeTaken, v1alpha1.ReasonUnknownScope,
	v1alpha1.ReasonClientNotFound, v1alpha1.ReasonSecretReady, v1alpha1.ReasonKeysReady,
	v1alpha1.ReasonUnresolvable,
	v1alpha1.ReasonUnreachable, v1alpha1.ReasonBadCertificate, v1alpha1.ReasonBadAnswer,
	v1alpha1.ReasonNotNeeded, v1alpha1.ReasonSecretExists, v1alpha1.ReasonSecretNotFound,
	v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonConfigMapExists, v1alpha1.ReasonWeakSecret,
	v1alpha1.ReasonInvalidPassword, v1alpha1.ReasonRevokedSecret, v1alpha1.ReasonRotationLimited,
	v1alpha1.ReasonNameTaken, v1alpha1.ReasonProgressDeadlineExceeded, v1alpha1.ReasonKeysLost,
	v1alpha1.ReasonKeysCurrent, v1alpha1.ReasonRotationPending, v1alpha1.ReasonNoReplica,
	v1alpha1.ReasonReplicaProblem, v1alpha1.ReasonUpgradePending, v1alpha1.ReasonManagerTooOld,
	v1alpha1.ReasonEntryRejected, v1alpha1.ReasonLegacyGrant, v1alpha1.ReasonLegacyGrantEnding,
	v1alpha1.ReasonLegacyGrantEnded, v1alpha1.ReasonRealmTaken, v1alpha1.ReasonTooManyProviders,
	v1alpha1.ReasonExampleFailed, v1alpha1.ReasonIdentityProviderNotFound, v1alpha1.ReasonClientRefused,
	v1alpha1.ReasonSecretRefused, v1alpha1.ReasonBindRefused, v1alpha1.ReasonSearchRefused, v1alpha1.ReasonReferral,
	v1alpha1.ReasonNoIdentityProvider,
}

// labelValue returns a value that is in the set, and "Other" for any else: a user who may write a
// status can write anything there.
func labelValue(value string, set []string) string {
	if slices.Contains(set, value) {
		return value
	}
	return "Other"
}
