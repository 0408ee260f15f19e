package controllers

import (
	"io"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// secretState is what a pass has observed of the secret of a client. Secrets are read only where
// the plan needs their content, so a value may be empty.
type secretState struct {
	isPublic    bool
	credentials []documents.Credential // in the client's Entry
	target      *secretTarget          // the Secret that the operator writes; nil: none
	// targetProblem says why the target must not be written, if so.
	targetProblem condition

	// Of a client whose secret the operator generates:
	stored  string   // client_secret in the target
	others  []string // client_secret in other Secrets that were made for the client
	pending string   // generated in an earlier pass, and in no Secret yet

	// Of a client with spec.secret.fromSecret, which is nil for others:
	fromSecret    *v1alpha1.SecretKeyReference
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
	// of fromSecret that its value was read from.
	activeID string
	source   secretVersion
	// deletesOthers deletes the Secrets that were made for the client, except kept.
	deletesOthers bool
	kept          []string
	// condition is CredentialsReady when all this is done.
	condition condition
	// nextEnd is when a Retiring credential ends; zero: none retires.
	nextEnd time.Time
}

// credentialsAfterWrite returns the credentials for the Entry when the target is written.
func (p credentialPlan) credentialsAfterWrite(written secretVersion) []documents.Credential {
	return activate(p.credentials, p.activeID, credentialSource{read: p.source, written: written})
}

// planCredentials decides what to write, from what was observed. A client whose Secret cannot be
// written, or whose source cannot be used, keeps the credentials that it has.
func planCredentials(state secretState, now time.Time, random io.Reader) (credentialPlan, error) {
	if state.isPublic {
		return credentialPlan{deletesOthers: true, condition: trueCondition(v1alpha1.ReasonNotNeeded, "a public client has no credential")}, nil
	}
	hadCredentials := len(state.credentials) > 0
	var plan credentialPlan
	var nextEnd time.Time
	var err error
	state.credentials, nextEnd = removeEnded(state.credentials, now)
	if state.fromSecret != nil {
		plan, err = state.planFromSecret(now, random)
	} else {
		plan, err = state.planGenerated(hadCredentials, now, random)
	}
	plan.nextEnd = nextEnd
	return plan, err
}

// planGenerated plans for a client whose secret the operator generates. hadCredentials reports
// whether the Entry has credentials, ended ones included.
func (state secretState) planGenerated(hadCredentials bool, now time.Time, random io.Reader) (credentialPlan, error) {
	switch {
	case state.targetProblem.isSet():
		return state.planNothing(state.targetProblem), nil
	case state.isTargetCurrent():
		active := findByState(state.credentials, documents.CredentialActive)
		return credentialPlan{
			credentials:   activate(state.credentials, active.ID, parseCredentialSource(active.Source)),
			deletesOthers: true, kept: []string{state.target.spec.Name}, condition: secretReady(state.target.spec.Name),
		}, nil
	}
	secret, problem := state.findReusableSecret(hadCredentials)
	if problem.isSet() {
		return state.planNothing(problem), nil
	}
	isGenerated := secret == ""
	if isGenerated {
		secret = state.pending
	}
	if secret == "" {
		var err error
		if secret, err = newClientSecret(random); err != nil {
			return credentialPlan{}, err
		}
	}
	plan, err := state.planWrite(secret, now, random)
	plan.isGenerated = isGenerated
	plan.kept, plan.condition = []string{state.target.spec.Name}, secretReady(state.target.spec.Name)
	return plan, err
}

// planFromSecret plans for a client whose secret a user has put into a Secret. Its readers may use
// the value already, so it is in force whether or not a target can be written.
func (state secretState) planFromSecret(now time.Time, random io.Reader) (credentialPlan, error) {
	if state.sourceProblem.isSet() {
		return state.planNothing(state.sourceProblem), nil
	}
	ref := state.fromSecret
	isKnown := state.source == state.knownSource()
	if !isKnown {
		if reason, problem := findSecretProblem(state.sourceValue); problem != "" {
			return state.planNothing(falseCondition(reason, "spec.secret.fromSecret: the value of key %q in Secret %q %s", ref.Key, ref.Name, problem)), nil
		}
	}
	var plan credentialPlan
	var err error
	switch {
	case isKnown:
		active := findByState(state.credentials, documents.CredentialActive)
		plan.credentials = activate(state.credentials, active.ID, parseCredentialSource(active.Source))
	case state.target == nil || state.targetProblem.isSet():
		plan.credentials, err = state.activateSource(now, random)
	default:
		plan, err = state.planWrite(state.sourceValue, now, random)
		plan.source, plan.dryRun = state.source, false
	}
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
	pending, err := newCredential(secret, documents.CredentialPending, now, random)
	plan.dryRun, plan.credentials, plan.activeID = true, addPending(state.credentials, pending), pending.ID
	return plan, err
}

// activateSource returns the credentials with that of fromSecret as the Active one.
func (state secretState) activateSource(now time.Time, random io.Reader) ([]documents.Credential, error) {
	source := credentialSource{read: state.source}
	if c := findBySecret(state.credentials, state.sourceValue); c != nil {
		return activate(state.credentials, c.ID, source), nil
	}
	added, err := newCredential(state.sourceValue, documents.CredentialActive, now, random)
	if err != nil {
		return nil, err
	}
	return activate(append(slices.Clone(state.credentials), added), added.ID, source), nil
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
// one. A value in the client's own Secret is kept if its credential exists, or if there are no
// credentials at all, since then the Entry was lost. Any other value was written by a user and need
// not be random. The value of a Secret that the client adopts is kept; problem says if it cannot be.
func (state secretState) findReusableSecret(hadCredentials bool) (secret string, problem condition) {
	if state.target.metadata == nil {
		for _, value := range state.others { // the target was renamed
			if c := findBySecret(state.credentials, value); c != nil && c.State == documents.CredentialActive {
				return value, condition{}
			}
		}
		return "", condition{}
	}
	value := state.stored
	switch {
	case state.target.isOwn && findBySecret(state.credentials, value) != nil:
		return value, condition{}
	case state.target.isOwn && hadCredentials || value == "":
		return "", condition{}
	}
	switch reason, text := findSecretProblem(value); {
	case text == "":
		return value, condition{}
	case state.target.isOwn:
		return "", condition{}
	default:
		return "", falseCondition(reason, "Secret %q: the value of key %q %s", state.target.spec.Name, compile.SecretKeyClientSecret, text)
	}
}

func secretReady(name string) condition {
	return trueCondition(v1alpha1.ReasonSecretReady, "Secret \""+name+"\" holds the credential")
}
