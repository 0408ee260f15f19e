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

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

type userReconciler struct{ *operator }

// userPass is what the steps of a pass find out about one OAuthUser.
type userPass struct {
	user          *v1alpha1.OAuthUser
	failed        *failure
	server        *resolvedServer
	document      documents.User
	entry         *internalv1alpha1.Entry // of the subject, with the document
	usernameEntry *internalv1alpha1.Entry
	replicas      []replica
	requeueAt     time.Time
	accepted      condition
	credentials   condition
}

// Reconcile gives an OAuthUser its subject and username, and writes its document.
func (r *userReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := reconciled{compile.KindUser, request.NamespacedName}
	if wait := r.writer.echoes.postpone(object); wait > 0 {
		return ctrl.Result{RequeueAfter: wait, Priority: new(firstPriority)}, nil
	}
	defer r.writer.echoes.begin(object)()
	var user v1alpha1.OAuthUser
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &user); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		return r.reconcileDeleted(ctx, compile.KindUser, request.NamespacedName)
	}
	s := &userPass{user: &user}
	s.failed = runSteps(withCause(ctx, &user), s, []step[*userPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.reserveUsername},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.ensurePassword},
		{conditionType: v1alpha1.ConditionAccepted, run: r.writeDocument},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.narrowDocument, runAfterFailure: true},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&user, s.failed, &s.requeueAt, func() error {
		return r.writeStatus(ctx, s.user, func() time.Time { return r.fillStatus(s) })
	})
}

// accept compiles the document and decides whether the user has the subject. While the user is
// invalid, the document that was written before stays in force, but for what narrowDocument writes.
func (r *userReconciler) accept(ctx context.Context, s *userPass) (err error) {
	if err := r.entries.DeleteOrphaned(ctx, compile.OwnerOf(s.user)); err != nil {
		return err
	}
	s.server, s.accepted, err = r.resolveServer(ctx, names.ServerOf(s.user), s.user.Namespace, false)
	if err != nil || s.accepted.isSet() {
		return err
	}
	var findings compile.Findings
	s.document, findings = compile.User(s.user)
	if s.entry, err = r.entries.GetConfirmed(ctx, s.server.object, s.subjectName()); err != nil {
		return err
	}
	if len(findings) > 0 {
		s.accepted = invalidCondition("%s", findings)
		return nil
	}
	taken, err := r.entries.IsTaken(ctx, s.server.withNames(), s.subjectName(), s.user, s.entry)
	if err != nil || !taken {
		return err
	}
	s.accepted = falseCondition(v1alpha1.ReasonSubjectTaken,
		"spec.subject: another object of the server has the name %q: delete this user and create it with another subject, which is immutable", s.document.Subject)
	return r.entries.DeleteOthers(ctx, compile.OwnerOf(s.user)) // the username too: a user who is not served has no names
}

func (s *userPass) subjectName() compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: s.document.Subject}
}

// reserveUsername reserves the name with which the user logs in. Its Entry has no document: that is
// in the Entry of the subject.
func (r *userReconciler) reserveUsername(ctx context.Context, s *userPass) error {
	if s.accepted.isSet() {
		return nil
	}
	name := compile.Name{Space: internalv1alpha1.SpaceUsername, Value: s.document.Username}
	var err error
	s.usernameEntry, err = r.entries.Reserve(ctx, s.server.withNames(), name, s.user)
	if errors.Is(err, names.ErrTaken) {
		s.accepted = falseCondition(v1alpha1.ReasonUsernameTaken, "spec.username: the name %q belongs to another user of this server: choose another", s.document.Username)
		return nil
	}
	return err
}

// ensurePassword keeps the hash in the document unless the Secret has changed. Hashing is the most
// expensive thing that the manager does, and another password ends sessions.
func (r *userReconciler) ensurePassword(ctx context.Context, s *userPass) error {
	if s.accepted.isSet() {
		return nil
	}
	if s.entry != nil && s.entry.Spec.Owner.UID == s.user.UID && documents.Kind(s.entry.Spec.Format) == documents.KindUser {
		if stored, err := decodeEntry[documents.User](s.entry); err == nil {
			s.document.PasswordHash, s.document.Epoch, s.document.PasswordSource = stored.PasswordHash, stored.Epoch, stored.PasswordSource
		}
	}
	if s.document.Epoch == "" {
		if err := r.startEpoch(s); err != nil {
			return err
		}
	}
	ref := passwordRef(s.user)
	if ref == nil {
		return r.removePassword(s)
	}
	key, detail, known := compile.SecretKey{Namespace: s.user.Namespace, Ref: *ref, Field: "spec.passwordSecretRef"}, "password:"+ref.Key, parseSecretVersion(s.document.PasswordSource)
	if ref == s.user.Spec.PasswordHashSecretRef { // the same key of the same Secret may have been read as a password before
		key.Field, detail = "spec.passwordHashSecretRef", "hash:"+ref.Key
	}
	source, value, refusal, err := r.readSecretKey(ctx, key, detail, known)
	if err != nil {
		return err
	}
	switch {
	case refusal.isSet():
		s.credentials = refusal
		return nil
	case source == known:
		s.credentials = passwordReadyCondition(s.user)
		return nil
	}
	if err := r.setPassword(s, string(value)); err != nil {
		return err
	}
	if s.credentials.isTrue() {
		s.document.PasswordSource = source.String()
	}
	return nil
}

// removePassword is for a user who names no Secret.
func (r *userReconciler) removePassword(s *userPass) error {
	s.credentials = trueCondition(v1alpha1.ReasonNotNeeded, "the user has no password and cannot log in with one")
	if s.document.PasswordHash == "" {
		return nil
	}
	s.document.PasswordHash, s.document.PasswordSource = "", ""
	return r.startEpoch(s)
}

// setPassword sets the hash of a password, or a hash, in the document if it is another one than
// before.
func (r *userReconciler) setPassword(s *userPass, value string) error {
	if s.user.Spec.PasswordHashSecretRef != nil {
		return r.setHash(s, strings.TrimSpace(value))
	}
	if problem := findPasswordProblem(value); problem != "" {
		s.credentials = falseCondition(v1alpha1.ReasonInvalidPassword, "spec.passwordSecretRef: the value of key %q in Secret %q %s",
			s.user.Spec.PasswordSecretRef.Key, s.user.Spec.PasswordSecretRef.Name, problem)
		return nil
	}
	s.credentials = passwordReadyCondition(s.user)
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

func (r *userReconciler) setHash(s *userPass, hash string) error {
	if err := password.CheckHash(hash); err != nil {
		s.credentials = falseCondition(v1alpha1.ReasonInvalidPassword, "spec.passwordHashSecretRef: the value of key %q in Secret %q is %s",
			s.user.Spec.PasswordHashSecretRef.Key, s.user.Spec.PasswordHashSecretRef.Name, err.Error())
		return nil
	}
	s.credentials = passwordReadyCondition(s.user)
	if hash == s.document.PasswordHash {
		return nil
	}
	return r.replaceHash(s, hash)
}

// replaceHash replaces the hash, and starts a new epoch if there was one: sessions and grants that
// began with the old password have ended.
func (r *userReconciler) replaceHash(s *userPass, hash string) error {
	first := s.document.PasswordHash == ""
	s.document.PasswordHash = hash
	if first {
		return nil
	}
	return r.startEpoch(s)
}

func (r *userReconciler) startEpoch(s *userPass) error {
	b := make([]byte, 16)
	if _, err := io.ReadFull(r.random, b); err != nil {
		return fmt.Errorf("generating an epoch: %w", err)
	}
	s.document.Epoch = base64.RawURLEncoding.EncodeToString(b)
	return nil
}

// findPasswordProblem returns what is wrong with a password that no user could type or that the
// token server would refuse, as a predicate of it, or "".
func findPasswordProblem(value string) string {
	switch {
	case value == "":
		return "is empty"
	case len(value) > password.MaxLength:
		return fmt.Sprintf("is longer than %d bytes", password.MaxLength)
	case strings.HasSuffix(value, "\n"):
		return "ends with a line break, which cannot be typed: remove it (echo -n)"
	case !utf8.ValidString(value):
		return "is not UTF-8"
	}
	return ""
}

// writeDocument writes the user's document into the Entry of the subject.
func (r *userReconciler) writeDocument(ctx context.Context, s *userPass) error {
	if s.accepted.isSet() {
		return nil
	}
	owner := compile.OwnerOf(s.user)
	e, err := r.entries.EnsureDocument(ctx, s.server.object, s.subjectName(), owner, s.document, s.entry)
	if err == nil || asVersionSkew(err) != nil {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "the server accepts the user")
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.entries.DeleteOthers(ctx, owner, s.entry, s.usernameEntry)
}

// narrowDocument writes a suspension and a tokensNotBefore into the document in force, if the rest of
// the spec could not be written: they wait for no other field to be corrected.
func (r *userReconciler) narrowDocument(ctx context.Context, s *userPass) error {
	if s.entry == nil || s.entry.Spec.Owner.UID != s.user.UID {
		return nil
	}
	narrowed, err := decodeEntry[documents.User](s.entry)
	if err != nil {
		return nil //nolint:nilerr // writeDocument replaces it, or says why not
	}
	narrowed.Suspended = narrowed.Suspended || s.document.Suspended
	narrowed.TokensNotBefore = narrowedNotBefore(narrowed.TokensNotBefore, s.document.TokensNotBefore, r.now())
	s.entry, err = r.entries.EnsureDocument(ctx, s.server.object, s.subjectName(), compile.OwnerOf(s.user), narrowed, s.entry)
	return err
}

// readReplicas reads which token servers run.
func (r *userReconciler) readReplicas(ctx context.Context, s *userPass) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}

func passwordReadyCondition(u *v1alpha1.OAuthUser) condition {
	return trueCondition(v1alpha1.ReasonSecretReady, fmt.Sprintf("Secret %q was read, and its content is in force", passwordRef(u).Name))
}

func passwordRef(u *v1alpha1.OAuthUser) *v1alpha1.SecretKeyReference {
	if u.Spec.PasswordHashSecretRef != nil {
		return u.Spec.PasswordHashSecretRef
	}
	return u.Spec.PasswordSecretRef
}
