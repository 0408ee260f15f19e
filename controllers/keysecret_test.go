package controllers

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

func TestAManagerDoesNotWriteOverWhatANewerOneSaysOfTheKeys(t *testing.T) {
	env := newEnv(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: workload.KeysSecretName("main")}}
	updateObject(env, secret, func(s *corev1.Secret) {
		s.Annotations[ringAnnotation] = strings.Replace(s.Annotations[ringAnnotation], `{"kid"`, `{"constraint":true,"kid"`, 1)
	})
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 7}}
		s.Spec.TrustedProxies = []v1alpha1.CIDR{"10.0.0.0/8"}
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	if !strings.Contains(message, secret.Name) {
		t.Error(message)
	}
	version := secret.ResourceVersion
	time.Sleep(500 * time.Millisecond)
	if env.get(secret); secret.ResourceVersion != version {
		t.Errorf("written over: %s", secret.Annotations[ringAnnotation])
	}
	doc := documentAt[documents.Server](env, env.server.Spec.Issuer)
	if len(doc.Keys) == 0 || len(doc.TrustedProxies) == 0 {
		t.Errorf("all else that the server asks for is in force, and its keys are as they were: %+v", doc)
	}
}

func TestTheFilesOfKeysAreWhatTheTokenServerReads(t *testing.T) {
	made, dir := newKeyFiles{}, t.TempDir()
	generate := made.generator(rand.Reader)
	kids := map[string]string{}
	for _, algorithm := range []string{"ES256", "RS256", documents.AlgorithmSealing} {
		kid, err := generate(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		kids[kid] = algorithm
	}
	for file, content := range made {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := keys.NewSet(rand.Reader)
	if err := set.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(maps.Keys(kids))
	if got := set.LoadedKIDs(); !slices.Equal(got, want) {
		t.Errorf("holds %q, want %q", got, want)
	}
	if got := slices.Sorted(slices.Values(listKeyFiles(made))); !slices.Equal(got, want) {
		t.Errorf("the manager finds %q, want %q", got, want)
	}
	var doc documents.Server
	for kid, algorithm := range kids {
		doc.Keys = append(doc.Keys, documents.Key{KID: kid, Algorithm: algorithm, Phase: documents.KeyActive})
	}
	if missing := set.SetDocument(doc); len(missing) > 0 {
		t.Errorf("of the wrong algorithm: %q", missing)
	}
}

func TestAKeyThatCannotBeMadeLeavesNoFile(t *testing.T) {
	made := newKeyFiles{}
	for _, algorithm := range []string{"PS256", documents.AlgorithmSealing} {
		if kid, err := made.generator(strings.NewReader(""))(algorithm); err == nil || kid != "" || len(made) > 0 {
			t.Errorf("%s: kid %q, %v, files %d", algorithm, kid, err, len(made))
		}
	}
}

func TestTheMaterialOfAKeyGoesWithTheKeyAndOtherFilesStay(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"a.pem": []byte("a"), "b.pem": []byte("b"), "c.sealing": []byte("c"), "notes.txt": []byte("n")}}
	secret.Labels = map[string]string{"team": "identity"}
	ring := keyring.Ring{Keys: []keyring.Key{
		{KID: "a", Algorithm: "ES256", Phase: documents.KeyActive}, {KID: "d", Algorithm: documents.AlgorithmSealing, Phase: documents.KeyActive},
	}}
	if err := fillKeySecret(secret, "main", ring, newKeyFiles{"d.sealing": []byte("d")}); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(got, []string{"a.pem", "d.sealing", "notes.txt"}) {
		t.Errorf("files %q", got)
	}
	if secret.Labels["team"] != "identity" || secret.Labels[workload.KeysLabel] != "main" {
		t.Errorf("labels %v", secret.Labels)
	}
	if got, err := decodeRing(secret); err != nil || !reflect.DeepEqual(got, ring) {
		t.Errorf("the annotation says %+v, %v", got, err)
	}
	if len(secret.OwnerReferences) > 0 {
		t.Error("the keys go with their AuthorizationServer")
	}
	if text := secret.Annotations[ringAnnotation]; strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("d"))) {
		t.Errorf("the annotation holds material: %s", text)
	}
}

func TestAFileIsAKeyByItsName(t *testing.T) {
	for file, want := range map[string]string{"a.pem": "a", "a.b.sealing": "a.b", "a.sealing": "a", "a": "", ".pem": "", "a.pem.bak": "", "pem": ""} {
		if kid, ok := parseKeyFileName(file); ok != (want != "") || ok && kid != want {
			t.Errorf("%s: %q, %v", file, kid, ok)
		}
	}
	if got := listKeyFiles(map[string][]byte{"a.pem": nil}); got == nil || len(got) > 0 {
		t.Errorf("an empty file is the key %q", got)
	}
}

// newServerWithKeys creates an AuthorizationServer, and waits until the manager has made its keys.
func newServerWithKeys(t *testing.T) (server *v1alpha1.AuthorizationServer, secret *corev1.Secret) {
	t.Helper()
	namespace := newNamespace(t)
	server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "main"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://" + namespace + ".example.com"},
	}
	create(t, server)
	eventually.True(t, "the keys are made and in status", func() bool { return len(getServer(t, server).Status.Keys) == 6 })
	return server, getKeySecret(t, server)
}

func getServer(t *testing.T, server *v1alpha1.AuthorizationServer) *v1alpha1.AuthorizationServer {
	t.Helper()
	var now v1alpha1.AuthorizationServer
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(server), &now); err != nil {
		t.Fatal(err)
	}
	return &now
}

// getKeySecret returns the key Secret of a server, or nil if there is none.
func getKeySecret(t *testing.T, server *v1alpha1.AuthorizationServer) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	if err := admin.Get(t.Context(), keySecretKey(server), &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		t.Fatal(err)
	}
	return &secret
}

func hasAvailableReason(t *testing.T, server *v1alpha1.AuthorizationServer, reason string) bool {
	t.Helper()
	c := meta.FindStatusCondition(getServer(t, server).Status.Conditions, v1alpha1.ConditionAvailable)
	return c != nil && c.Reason == reason
}

func servedKIDs(t *testing.T, server *v1alpha1.AuthorizationServer) []string {
	t.Helper()
	entry, err := names.Read(t.Context(), admin, server, compile.IssuerName(server))
	if err != nil || entry == nil {
		t.Fatalf("no document: %v", err)
	}
	doc, err := decodeEntry[documents.Server](entry)
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, k := range doc.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func TestALostKeySecretIsReportedAndNeverSilentlyMadeAgain(t *testing.T) {
	startManager(t)
	server, secret := newServerWithKeys(t)
	served := servedKIDs(t, server)
	if err := admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "Available=False/KeysLost", func() bool { return hasAvailableReason(t, server, v1alpha1.ReasonKeysLost) })
	annotate(t, server, "touched", "1") // so that another pass is made
	updateServer(t, server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: time.Minute}}
	})
	eventually.True(t, "the change of a lifetime is served all the same", func() bool {
		entry, err := names.Read(t.Context(), admin, server, compile.IssuerName(server))
		return err == nil && entry != nil && strings.Contains(entry.Spec.Document, `"accessTokenLifetime":60`)
	})
	if getKeySecret(t, server) != nil {
		t.Error("the keys were made again")
	}
	if now := servedKIDs(t, server); !slices.Equal(now, served) {
		t.Errorf("token servers are told of %q, and were of %q", now, served)
	}

	restored := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations,
	}, Data: secret.Data}
	create(t, restored)
	eventually.True(t, "the restored keys are taken up", func() bool { return !hasAvailableReason(t, server, v1alpha1.ReasonKeysLost) })
	if now := servedKIDs(t, server); !slices.Equal(now, served) {
		t.Errorf("after the restore token servers are told of %q, and were of %q", now, served)
	}
}

func TestLostKeysAreReplacedByWhoRevokesThem(t *testing.T) {
	startManager(t)
	server, secret := newServerWithKeys(t)
	served := servedKIDs(t, server)
	if err := admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "Available=False/KeysLost", func() bool { return hasAvailableReason(t, server, v1alpha1.ReasonKeysLost) })
	updateServer(t, server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Signing = &v1alpha1.SigningSettings{RevokedKeys: served} })
	eventually.True(t, "new keys are made", func() bool {
		return getKeySecret(t, server) != nil && !hasAvailableReason(t, server, v1alpha1.ReasonKeysLost)
	})
	eventually.True(t, "and served, instead of the old ones", func() bool {
		now := servedKIDs(t, server)
		return len(now) == 6 && !slices.ContainsFunc(now, func(kid string) bool { return slices.Contains(served, kid) })
	})
}

func TestASecretThatIsNotOursIsNotTakenForTheKeySecretAndNotTouched(t *testing.T) {
	startManager(t)
	namespace := newNamespace(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: workload.KeysSecretName("main")}, Data: map[string][]byte{"mine.pem": []byte("mine")},
	}
	create(t, foreign)
	server := &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "main"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://" + namespace + ".example.com"},
	}
	create(t, server)
	eventually.True(t, "Available=False/SecretExists", func() bool { return hasAvailableReason(t, server, v1alpha1.ReasonSecretExists) })
	if now := getKeySecret(t, server); now == nil || now.ResourceVersion != foreign.ResourceVersion {
		t.Error("the Secret was changed")
	}
	if err := admin.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "keys are made when it is gone", func() bool { return len(getServer(t, server).Status.Keys) == 6 })
}

// A user who followed advice to delete the Secret would lose all keys.
func TestTheAdviceAboutAKeySecretThatWasEditedIsNotToRemoveIt(t *testing.T) {
	startManager(t)
	server, secret := newServerWithKeys(t)
	holder := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: "holder"}}
	create(t, holder)
	patch := func(text string) {
		t.Helper()
		if err := admin.Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	patch(fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"holder","uid":%q}]}}`, holder.UID))
	eventually.True(t, "Available=False/SecretExists", func() bool { return hasAvailableReason(t, server, v1alpha1.ReasonSecretExists) })
	message := meta.FindStatusCondition(getServer(t, server).Status.Conditions, v1alpha1.ConditionAvailable).Message
	if !strings.Contains(message, "keep the Secret") || strings.Contains(message, ": remove it") || !strings.Contains(message, "ownerReferences") {
		t.Error(message)
	}
	patch(`{"metadata":{"ownerReferences":null,"labels":null}}`)
	eventually.True(t, "it has its label again", func() bool { return getKeySecret(t, server).Labels[workload.KeysLabel] == "main" })
	eventually.True(t, "it is in use again", func() bool { return !hasAvailableReason(t, server, v1alpha1.ReasonSecretExists) })
	if now := getKeySecret(t, server); now.UID != secret.UID || !reflect.DeepEqual(now.Data, secret.Data) {
		t.Error("the keys are others than before")
	}
}

func TestAServerThatIsCreatedAgainTakesUpItsKeys(t *testing.T) {
	startManager(t)
	server, secret := newServerWithKeys(t)
	if err := admin.Delete(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "it is gone", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(server), &v1alpha1.AuthorizationServer{}))
	})
	again := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: server.Namespace, Name: server.Name}, Spec: server.Spec}
	create(t, again)
	eventually.True(t, "it has keys", func() bool { return len(getServer(t, again).Status.Keys) == 6 })
	now := getKeySecret(t, again)
	if now == nil || now.UID != secret.UID || !reflect.DeepEqual(now.Data, secret.Data) {
		t.Error("the keys are others than before")
	}
}

func TestRevokingAKeyRemovesItsMaterialAndServesTheStandby(t *testing.T) {
	startManager(t)
	server, secret := newServerWithKeys(t)
	ring, err := decodeRing(secret)
	if err != nil {
		t.Fatal(err)
	}
	revoked, standby := ring.Find("RS256", documents.KeyActive).KID, ring.Find("RS256", documents.KeyPublished).KID
	updateServer(t, server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{RevokedKeys: []string{revoked}}
	})
	eventually.True(t, "the material is gone", func() bool { return len(getKeySecret(t, server).Data[revoked+signingSuffix]) == 0 })
	eventually.True(t, "the standby is Active in status", func() bool {
		return slices.ContainsFunc(getServer(t, server).Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KID == standby && k.Phase == v1alpha1.KeyActive })
	})
	if kids := servedKIDs(t, server); slices.Contains(kids, revoked) || len(kids) != 6 {
		t.Errorf("token servers are told of %q", kids)
	}
}

func annotate(t *testing.T, object client.Object, name, value string) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, name, value))
	if err := admin.Patch(t.Context(), object.DeepCopyObject().(client.Object), patch); err != nil {
		t.Fatal(err)
	}
}

// updateServer edits a server, and retries on a conflict.
func updateServer(t *testing.T, server *v1alpha1.AuthorizationServer, edit func(*v1alpha1.AuthorizationServer)) {
	t.Helper()
	for {
		now := getServer(t, server)
		edit(now)
		err := admin.Update(t.Context(), now)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}
