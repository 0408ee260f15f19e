package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

type userReconciler struct{ *operator }

// userScope is what the steps find out about one OAuthUser.
type userScope struct {
	user        *v1alpha1.OAuthUser
	failed      *failure
	server      *resolvedServer
	document    documents.User
	entry       *internalv1alpha1.Entry // of the subject, with the document
	username    *internalv1alpha1.Entry
	replicas    []replica
	requeueAt   time.Time
	accepted    condition
	credentials condition
}

// Reconcile serves an OAuthUser: its two names are its own, its document is current.
func (r *userReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var user v1alpha1.OAuthUser
	if err := r.Get(ctx, request.NamespacedName, &user); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		return r.done(kindUser, request.NamespacedName, r.forget(ctx, kindUser, request.NamespacedName))
	}
	if !user.DeletionTimestamp.IsZero() {
		return r.done(kindUser, request.NamespacedName, r.forget(ctx, kindUser, request.NamespacedName))
	}
	s := &userScope{user: &user}
	s.failed = runSteps(withCause(ctx, &user), s, []step[*userScope]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.forgetNamesakes},
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.claimUsername},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.keepPassword},
		{conditionType: v1alpha1.ConditionAccepted, run: r.serve},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.observe, runAfterFailure: true},
	})
	return r.finish(&user, kindUser, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// forgetNamesakes removes what is served for objects that had this one's name before it.
func (r *userReconciler) forgetNamesakes(ctx context.Context, s *userScope) error {
	return r.forgetFormer(ctx, compile.Owner(kindUser, s.user))
}

// accept compiles the user. A mistake leaves in force what was served before.
func (r *userReconciler) accept(ctx context.Context, s *userScope) (err error) {
	s.server, s.accepted, err = r.resolveServer(ctx, serverOfUser(s.user), s.user.Namespace, "spec.serverRef", false)
	if err != nil || s.accepted.isSet() {
		return err
	}
	var findings compile.Findings
	if s.document, findings = compile.User(s.user); len(findings) > 0 {
		s.accepted = invalidCondition("%s", findings)
		return nil
	}
	if s.entry, err = r.getEntryConfirmed(ctx, s.server.object, s.subjectName()); err != nil {
		return err
	}
	taken, err := r.isTaken(ctx, s.server, s.subjectName(), s.user, s.entry)
	if err != nil || !taken {
		return err
	}
	s.accepted = falseCondition(v1alpha1.ReasonSubjectTaken,
		"spec.subject: another object of the server has the name %q: delete this user and create it with another subject, which is immutable", s.document.Subject)
	return r.deleteOtherEntries(ctx, compile.Owner(kindUser, s.user)) // the username too: who is not served holds no names
}

func (s *userScope) subjectName() compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: s.document.Subject}
}

// claimUsername claims the name that the user logs in with. The document is about the subject, so this claim has none.
func (r *userReconciler) claimUsername(ctx context.Context, s *userScope) error {
	if s.accepted.isSet() {
		return nil
	}
	claim := compile.Name{Space: internalv1alpha1.SpaceUsername, Value: s.document.Username}
	var err error
	s.username, err = r.reserveName(ctx, s.server, claim, kindUser, s.user)
	if errors.Is(err, errTaken) {
		s.accepted = falseCondition(v1alpha1.ReasonUsernameTaken, "spec.username: the name %q belongs to another user of this server: choose another", s.document.Username)
		return nil
	}
	return err
}

// keepPassword keeps the hash that is in force unless the Secret says something new. Hashing is the most expensive thing that the manager
// does, and a new hash ends sessions.
func (r *userReconciler) keepPassword(ctx context.Context, s *userScope) error {
	if s.accepted.isSet() {
		return nil
	}
	if s.entry != nil && s.entry.Spec.Owner.UID == s.user.UID && documents.Kind(s.entry.Spec.Format) == documents.KindUser {
		if stored, err := decodeEntry[documents.User](s.entry); err == nil {
			s.document.PasswordHash, s.document.Epoch, s.document.PasswordSource = stored.PasswordHash, stored.Epoch, stored.PasswordSource
		}
	}
	if s.document.Epoch == "" {
		if err := r.newEpoch(s); err != nil {
			return err
		}
	}
	ref := passwordRef(s.user)
	if ref == nil {
		return r.noPassword(s)
	}
	read := secretRead{namespace: s.user.Namespace, ref: *ref, field: "spec.passwordSecretRef", detail: "password:" + ref.Key, known: parseSecretVersion(s.document.PasswordSource)}
	if ref == s.user.Spec.PasswordHashSecretRef { // what was taken for a password may turn out to be a hash, in the same key of the same Secret
		read.field, read.detail = "spec.passwordHashSecretRef", "hash:"+ref.Key
	}
	source, value, refusal, err := r.readSecretKey(ctx, read)
	if err != nil {
		return err
	}
	switch {
	case refusal.isSet():
		s.credentials = refusal
		return nil
	case source == read.known:
		s.credentials = passwordReady(s.user)
		return nil
	}
	if err := r.takePassword(s, string(value)); err != nil {
		return err
	}
	if s.credentials.isTrue() {
		s.document.PasswordSource = source.String()
	}
	return nil
}

// noPassword is the state of a user who names no Secret: nobody can log in.
func (r *userReconciler) noPassword(s *userScope) error {
	s.credentials = trueCondition(v1alpha1.ReasonNotNeeded, "the user has no password and cannot log in with one")
	if s.document.PasswordHash == "" {
		return nil
	}
	s.document.PasswordHash, s.document.PasswordSource = "", ""
	return r.newEpoch(s)
}

// takePassword puts a password or a hash into the document if it is another one than before.
func (r *userReconciler) takePassword(s *userScope, value string) error {
	if s.user.Spec.PasswordHashSecretRef != nil {
		return r.takeHash(s, strings.TrimSpace(value))
	}
	if problem := checkPassword(value); problem != "" {
		s.credentials = falseCondition(v1alpha1.ReasonInvalidPassword, "spec.passwordSecretRef: the value of key %q in Secret %q %s",
			s.user.Spec.PasswordSecretRef.Key, s.user.Spec.PasswordSecretRef.Name, problem)
		return nil
	}
	s.credentials = passwordReady(s.user)
	if s.document.PasswordHash != "" {
		if same, err := password.Verify(s.document.PasswordHash, value); err == nil && same {
			return nil
		}
	}
	hash, err := password.Hash(value, r.random)
	if err != nil {
		return err
	}
	return r.replaceHash(s, hash)
}

func (r *userReconciler) takeHash(s *userScope, hash string) error {
	if err := password.CheckHash(hash); err != nil {
		s.credentials = falseCondition(v1alpha1.ReasonInvalidPassword, "spec.passwordHashSecretRef: the value of key %q in Secret %q is %s",
			s.user.Spec.PasswordHashSecretRef.Key, s.user.Spec.PasswordHashSecretRef.Name, err.Error())
		return nil
	}
	s.credentials = passwordReady(s.user)
	if hash == s.document.PasswordHash {
		return nil
	}
	return r.replaceHash(s, hash)
}

// replaceHash also starts a new epoch: sessions and grants that began with the old password have ended.
func (r *userReconciler) replaceHash(s *userScope, hash string) error {
	first := s.document.PasswordHash == ""
	s.document.PasswordHash = hash
	if first {
		return nil
	}
	return r.newEpoch(s)
}

func (r *userReconciler) newEpoch(s *userScope) error {
	b := make([]byte, 16)
	if _, err := io.ReadFull(r.random, b); err != nil {
		return fmt.Errorf("making an epoch: %w", err)
	}
	s.document.Epoch = base64.RawURLEncoding.EncodeToString(b)
	return nil
}

// checkPassword says what is wrong with a password that nobody could type or the token server would refuse; empty: nothing.
func checkPassword(value string) string {
	switch {
	case value == "":
		return "is empty"
	case len(value) > password.MaxLength:
		return fmt.Sprintf("is longer than %d bytes", password.MaxLength)
	case strings.HasSuffix(value, "\n"):
		return "ends with a line break, which nobody can type: remove it (echo -n)"
	case !utf8.ValidString(value):
		return "is not UTF-8"
	}
	return ""
}

// serve writes the user's document.
func (r *userReconciler) serve(ctx context.Context, s *userScope) error {
	if s.accepted.isSet() {
		return nil
	}
	text, err := documents.Encode(s.document)
	if err != nil {
		return err
	}
	owner := compile.Owner(kindUser, s.user)
	e, err := r.ensureEntry(ctx, compile.NewEntry(s.server.object, s.subjectName(), owner, documents.Format(s.document), text), s.entry)
	if err == nil || asVersionSkew(err) != nil {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "the server accepts the user")
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.deleteOtherEntries(ctx, owner, s.entry, s.username)
}

// observe looks at the token servers.
func (r *userReconciler) observe(ctx context.Context, s *userScope) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}

func passwordReady(u *v1alpha1.OAuthUser) condition {
	return trueCondition(v1alpha1.ReasonSecretReady, fmt.Sprintf("what Secret %q holds is in force", passwordRef(u).Name))
}

func passwordRef(u *v1alpha1.OAuthUser) *v1alpha1.SecretKeyReference {
	if u.Spec.PasswordHashSecretRef != nil {
		return u.Spec.PasswordHashSecretRef
	}
	return u.Spec.PasswordSecretRef
}
