package controllers

import (
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// secretState is what a pass has observed of the secret of a client. Secrets are read only where
// the plan needs their content, so a value may be empty.
type secretState struct {
	uid types.UID // of the client
	// withoutSecret is the tokenEndpointAuthMethod of a client that authenticates without a secret;
	// empty: it has one.
	withoutSecret string
	rotation      compile.SecretRotation
	credentials   []documents.Credential // in the client's Entry
	revoked       []documents.RevokedCredential
	uses          credentialUses
	target        *secretTarget // the Secret that the operator writes; nil: none
	// targetProblem says why the target must not be written, if so.
	targetProblem condition

	// Of a client whose secret the operator generates:
	stored   string // client_secret in the target
	previous string // client_secret in the Secret that was the target before it got another name
	pending  string // generated in an earlier pass, and in no Secret yet

	// Of a client with spec.secret.fromSecret, which is nil for others:
	fromSecret    *compile.SecretKey
	source        secretVersion // of that Secret
	sourceValue   string        // empty if source is the known one
	sourceProblem condition     // why the Secret cannot be used, if so
}

// credentialPlan is what a pass writes. It is executed in the order of the fields, in which no
// interruption leaves a Secret with a value that token servers refuse.
type credentialPlan struct {
	// dryRun asks the API server whether the target can be written, before anything is.
	dryRun bool
	// credentials are written to the Entry. Pending ones (accepted, not yet in the Secret)
	// authenticate.
	credentials []documents.Credential
	// secret is written to the target; empty: the target is not written. isGenerated reports that
	// it has to be remembered until then.
	secret      string
	isGenerated bool
	// activeID is the credential that then becomes Active in the Entry, and source is the version
	// of fromSecret that its value was read from. cause is why it replaces another, if it does, and
	// rotation says for how long that one is good.
	activeID string
	source   secretVersion
	cause    rotationCause
	rotation compile.SecretRotation
	uses     credentialUses // which decide when Retiring ones end
	// ended are the credentials that are not good any more when this is done, and surplus those of
	// them that were to be good for longer.
	ended, surplus []documents.Credential
	// deletesOthers deletes the Secrets that were made for the client, except kept. They stay for
	// the overlap after the target got another name.
	deletesOthers bool
	kept          []string
	// condition is CredentialsReady when all this is done.
	condition condition
	// waitUntil is when a rotation is possible that has come too soon after others; zero: none has.
	waitUntil time.Time
}

// credentialsAfterWrite returns the credentials for the Entry when the target is written.
func (p credentialPlan) credentialsAfterWrite(written secretVersion, now time.Time) []documents.Credential {
	return activate(p.credentials, p.activeID, credentialSource{read: p.source, written: written}, retireBy(p.rotation, p.cause, now))
}

// planCredentials decides what to write, from what was observed. A client whose Secret cannot be
// written, or whose source cannot be used, keeps the credentials that it has.
func planCredentials(state secretState, now time.Time, random io.Reader) (credentialPlan, error) {
	if state.withoutSecret != "" {
		return state.planWithoutSecret(now), nil
	}
	hadCredentials := len(state.credentials) > 0 || len(state.revoked) > 0
	var plan credentialPlan
	var ended []documents.Credential
	var err error
	state.credentials, ended = removeEnded(state.credentials, state.uses, state.rotation.Overlap, now)
	if state.fromSecret != nil {
		plan, err = state.planFromSecret(now, random)
	} else {
		plan, err = state.planGenerated(hadCredentials, now, random)
	}
	plan.rotation, plan.uses, plan.ended = state.rotation, state.uses, slices.Concat(ended, plan.surplus)
	return plan, err
}

// planGenerated plans for a client whose secret the operator generates. hadCredentials reports
// whether the Entry has credentials, ended and revoked ones included.
func (state secretState) planGenerated(hadCredentials bool, now time.Time, random io.Reader) (credentialPlan, error) {
	if state.targetProblem.isSet() {
		return state.planNothing(state.targetProblem), nil
	}
	secret := ""
	kept := findByState(state.credentials, documents.CredentialActive)
	isCurrent := state.isTargetCurrent()
	if !isCurrent {
		var problem condition
		if secret, problem = state.findReusableSecret(hadCredentials); problem.isSet() {
			return state.planNothing(problem), nil
		}
		kept = findBySecret(state.credentials, secret)
	}
	cause := state.findRotationCause(kept, now)
	waitUntil := state.waitUntil(cause, now)
	if !waitUntil.IsZero() && kept == nil {
		return state.planWait(cause, waitUntil), nil
	}
	if !waitUntil.IsZero() {
		cause = rotationCause{} // what is in force goes on
	}
	var plan credentialPlan
	var err error
	switch {
	case isCurrent && !cause.isSet():
		plan = credentialPlan{
			credentials: activate(state.credentials, kept.ID, parseCredentialSource(kept.Source), retirement{at: now}), deletesOthers: true,
		}
	case secret != "" && !cause.isSet():
		plan, err = state.planWrite(secret, now, random)
	default:
		plan, err = state.planNewSecret(now, random)
	}
	plan.cause, plan.waitUntil = cause, waitUntil
	plan.kept, plan.condition = []string{state.target.spec.Name}, secretReady(state.target.spec.Name)
	return plan, err
}

// planNewSecret plans to write a generated secret, that of an earlier pass if it was interrupted.
func (state secretState) planNewSecret(now time.Time, random io.Reader) (credentialPlan, error) {
	secret := state.pending
	if secret == "" || state.isRevokedSecret(secret) {
		var err error
		if secret, err = newClientSecret(random); err != nil {
			return credentialPlan{}, err
		}
	}
	plan, err := state.planWrite(secret, now, random)
	plan.isGenerated = true
	return plan, err
}

// planFromSecret plans for a client whose secret a user has put into a Secret. Its readers may use
// the value already, so it is in force whether or not a target can be written.
func (state secretState) planFromSecret(now time.Time, random io.Reader) (credentialPlan, error) {
	if state.sourceProblem.isSet() {
		return state.planNothing(state.sourceProblem), nil
	}
	ref := state.fromSecret.Ref
	active := findByState(state.credentials, documents.CredentialActive)
	isKnown := state.source == state.knownSource()
	known := findBySecret(state.credentials, state.sourceValue)
	var cause rotationCause
	if !isKnown {
		if problem := state.fromSecret.CheckClientSecret(state.sourceValue); problem.IsSet() {
			return state.planNothing(problemCondition(problem)), nil
		}
		if state.isRevokedSecret(state.sourceValue) {
			return state.planNothing(falseCondition(v1alpha1.ReasonRevokedSecret,
				"spec.secret.fromSecret: the value of key %q in Secret %q was revoked: put another one there", ref.Key, ref.Name)), nil
		}
		if active != nil && active != known {
			cause = rotationCause{text: fmt.Sprintf("key %q in Secret %q has another value", ref.Key, ref.Name), forced: true}
		}
	}
	if waitUntil := state.waitUntil(cause, now); !waitUntil.IsZero() && known == nil {
		return state.planWait(cause, waitUntil), nil
	}
	var plan credentialPlan
	var err error
	switch {
	case isKnown:
		plan.credentials = activate(state.credentials, active.ID, parseCredentialSource(active.Source), retirement{at: now})
	case state.target == nil || state.targetProblem.isSet():
		plan, err = state.activateSource(now, random)
	default:
		plan, err = state.planWrite(state.sourceValue, now, random)
		plan.source, plan.dryRun = state.source, false
	}
	plan.cause = cause
	if state.targetProblem.isSet() {
		plan.condition = state.targetProblem
		return plan, err
	}
	plan.deletesOthers, plan.kept, plan.condition = true, []string{ref.Name}, secretReady(ref.Name)
	if state.target != nil {
		plan.kept, plan.condition = append(plan.kept, state.target.spec.Name), secretReady(state.target.spec.Name)
	}
	return plan, err
}

// planNothing keeps the credentials as they are. The Entry is written even so, since it reserves
// the client id and carries the rest of the document.
func (state secretState) planNothing(problem condition) credentialPlan {
	return credentialPlan{credentials: state.credentials, condition: problem}
}

// planWrite writes a secret to the target. If it is new, its hash is served before.
func (state secretState) planWrite(secret string, now time.Time, random io.Reader) (credentialPlan, error) {
	plan := credentialPlan{credentials: state.credentials, secret: secret, deletesOthers: true}
	if c := findBySecret(state.credentials, secret); c != nil {
		plan.activeID = c.ID
		return plan, nil
	}
	pending, err := newCredential(secret, documents.CredentialPending, state.rotation.Revision, now, random)
	plan.dryRun, plan.activeID = true, pending.ID
	plan.credentials, plan.surplus = limitGood(addPending(state.retirePending(now), pending))
	return plan, err
}

// retirePending returns the credentials, in which one that an interrupted pass has left Pending is
// Retiring if the Secret may have held its value: Pods may have read it since.
func (state secretState) retirePending(now time.Time) []documents.Credential {
	stored := findBySecret(state.credentials, state.stored)
	if state.isTargetCurrent() || stored != nil && stored.State != documents.CredentialPending || state.isRevokedSecret(state.stored) {
		return state.credentials // what the Secret holds was never replaced
	}
	credentials := slices.Clone(state.credentials)
	for i, c := range credentials {
		if c.State == documents.CredentialPending {
			credentials[i] = retirement{at: now, overlap: state.rotation.Overlap}.retire(c)
		}
	}
	return credentials
}

// activateSource plans to make the credential of fromSecret the Active one.
func (state secretState) activateSource(now time.Time, random io.Reader) (plan credentialPlan, err error) {
	credentials, source := state.credentials, credentialSource{read: state.source}
	c := findBySecret(credentials, state.sourceValue)
	if c == nil {
		added, err := newCredential(state.sourceValue, documents.CredentialPending, state.rotation.Revision, now, random)
		if err != nil {
			return plan, err
		}
		credentials, c = addPending(state.retirePending(now), added), &added
	}
	plan.credentials, plan.surplus = limitGood(activate(credentials, c.ID, source, retirement{at: now, overlap: state.rotation.Overlap}))
	return plan, nil
}

// isTargetCurrent reports whether the target is as the manager has written it, with a generated
// secret whose credential is Active.
func (state secretState) isTargetCurrent() bool {
	active := findByState(state.credentials, documents.CredentialActive)
	if active == nil {
		return false
	}
	source := parseCredentialSource(active.Source)
	return source.read.isZero() && state.target.isCurrent(source.written)
}

// knownSource returns the version of fromSecret whose value is in force, and in the target if there
// is to be one; the zero secretVersion if there is none. It need not be read again.
func (state secretState) knownSource() secretVersion {
	active := findByState(state.credentials, documents.CredentialActive)
	if active == nil {
		return secretVersion{}
	}
	source := parseCredentialSource(active.Source)
	if state.target == nil && source.written.isZero() || state.target != nil && state.target.isCurrent(source.written) {
		return source.read
	}
	return secretVersion{}
}

// findReusableSecret returns the secret that the target keeps or gets; "" if the client needs a new
// one. A value in the client's own Secret is kept if its credential exists and was not replaced, or
// if there are no credentials at all, since then the Entry was lost. Any other value was written by
// a user and need not be random. The value of a Secret that the client adopts is kept; problem says
// if it cannot be.
func (state secretState) findReusableSecret(hadCredentials bool) (secret string, problem condition) {
	if c := findBySecret(state.credentials, state.previous); c != nil && c.State == documents.CredentialActive {
		return state.previous, condition{} // the target got another name
	}
	if state.target.metadata == nil {
		return "", condition{}
	}
	value := state.stored
	known := findBySecret(state.credentials, value)
	switch {
	case state.target.isOwn && known != nil && known.State != documents.CredentialRetiring:
		return value, condition{}
	case state.target.isOwn && hadCredentials || value == "":
		return "", condition{}
	}
	switch problem := compile.AdoptedSecretProblem(state.target.spec.Name, value); {
	case state.isRevokedSecret(value) && !state.target.isOwn:
		return "", falseCondition(v1alpha1.ReasonRevokedSecret,
			"Secret %q: the value of key %q was revoked: remove the key, and the client gets a new secret", state.target.spec.Name, compile.SecretKeyClientSecret)
	case !problem.IsSet() && !state.isRevokedSecret(value):
		return value, condition{}
	case state.target.isOwn:
		return "", condition{}
	default:
		return "", problemCondition(problem)
	}
}

// isRevokedSecret reports whether a value is that of a revoked credential.
func (state secretState) isRevokedSecret(value string) bool {
	return isRevoked(state.revoked, hashSecret(value))
}

func secretReady(name string) condition {
	return trueCondition(v1alpha1.ReasonSecretReady, "Secret \""+name+"\" holds the credential")
}

// planWait keeps the credentials of a client whose next secret comes too soon after others.
func (state secretState) planWait(cause rotationCause, until time.Time) credentialPlan {
	plan := state.planNothing(falseCondition(v1alpha1.ReasonRotationLimited,
		"%s, the fourth time within ten minutes: the next value is accepted at %s; find out what writes the Secret, and stop it",
		cause.text, timeText(until)))
	plan.waitUntil = until
	return plan
}
