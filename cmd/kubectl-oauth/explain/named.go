package explain

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// checkNamed says of a client that is not applied what its condition CredentialsReady would: about
// the Secrets and the ConfigMap that it names, and what it wants to have in them.
func (e *explanation) checkNamed() Outcome {
	outcome := Yes
	document := compile.Client(e.Client, nil)
	_, keys := compile.ClientKeys(e.Client)
	_, secretData := compile.SecretData(e.Client, document, e.answer.Issuer, compile.AnySecret)
	_, configMapData := compile.ConfigMapData(e.Client, document, e.answer.Issuer)
	for _, findings := range []compile.Findings{keys, secretData, configMapData} {
		for _, f := range findings {
			outcome = e.refuse(e.clientReason(f.Field, v1alpha1.ReasonInvalid+": "+f.Message))
		}
	}
	if key := compile.FromSecretKey(e.Client); key != nil {
		outcome = outcome.and(e.checkKey(*key, func(value []byte) compile.Problem { return key.CheckClientSecret(string(value)) }))
	}
	if key := compile.JWKSSecretKey(e.Client); key != nil {
		outcome = outcome.and(e.checkKey(*key, func(value []byte) compile.Problem {
			_, problem := key.PublicKeys(value)
			return problem
		}))
	}
	return outcome.and(e.checkSecretTarget()).and(e.checkConfigMap())
}

// checkKey says whether a key of a Secret holds what it must.
func (e *explanation) checkKey(key compile.SecretKey, check func([]byte) compile.Problem) Outcome {
	secret, known := e.Secrets[key.Ref.Name]
	if !known {
		return e.unread("Secret", key.Ref.Name, key.Field)
	}
	problem := key.Missing()
	if secret != nil {
		var value []byte
		if value, problem = key.Value(secret); !problem.IsSet() {
			problem = check(value)
		}
	}
	return e.byProblem(key.Field, problem)
}

// checkSecretTarget says whether the Secret that the operator writes may be written.
func (e *explanation) checkSecretTarget() Outcome {
	const field = "spec.secret.target.name"
	target := compile.SecretTarget(e.Client)
	if target == nil {
		return Yes
	}
	secret, known := e.Secrets[target.Name]
	switch {
	case !known:
		return e.unread("Secret", target.Name, field)
	case secret == nil || e.isOwn(secret):
		return Yes
	}
	problem := compile.AdoptionProblem(e.Client, "Secret", secret, e.otherOwner(secret))
	if !problem.IsSet() && compile.FromSecretKey(e.Client) == nil {
		problem = compile.AdoptedSecretProblem(secret.Name, string(secret.Data[compile.SecretKeyClientSecret]))
	}
	return e.byProblem(field, problem)
}

// checkConfigMap says whether the ConfigMap that the operator writes may be written.
func (e *explanation) checkConfigMap() Outcome {
	const field = "spec.configMap.name"
	if e.Client.Spec.ConfigMap == nil {
		return Yes
	}
	name := e.Client.Spec.ConfigMap.Name
	m, known := e.ConfigMaps[name]
	switch {
	case !known:
		return e.unread("ConfigMap", name, field)
	case m == nil || e.isOwn(m):
		return Yes
	}
	return e.byProblem(field, compile.AdoptionProblem(e.Client, "ConfigMap", m, e.otherOwner(m)))
}

// isOwn reports whether a Secret or ConfigMap is the client's: it is applied already, in another
// version.
func (e *explanation) isOwn(m metav1.Object) bool {
	owner := compile.OAuthClientOf(m)
	return e.Client.UID != "" && owner != nil && owner.UID == e.Client.UID
}

// otherOwner returns what else a Secret or ConfigMap belongs to; empty if there is no such object.
func (e *explanation) otherOwner(m metav1.Object) string {
	clients, controller := compile.OtherOwners(e.Client, m)
	for _, owner := range clients {
		if e.LivingClients[owner.UID] {
			return fmt.Sprintf("OAuthClient %q", owner.Name)
		}
	}
	return controller
}

// byProblem says what a problem of a field does to the client.
func (e *explanation) byProblem(field string, problem compile.Problem) Outcome {
	if !problem.IsSet() {
		return Yes
	}
	reason := e.clientReason(field, problem.Reason+": "+strings.TrimPrefix(problem.Message, field+": "))
	if problem.Reason == v1alpha1.ReasonPending {
		e.answer.Reasons = append(e.answer.Reasons, reason)
		return Unknown
	}
	return e.refuse(reason)
}

// unread says that the caller may not read an object that a field names.
func (e *explanation) unread(kind, name, field string) Outcome {
	e.answer.Reasons = append(e.answer.Reasons, e.clientReason(field, fmt.Sprintf("you may not read %s %q, and whether it can be used is not known", kind, name)))
	return Unknown
}
