package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// recordingStore is a store that records what is written.
type recordingStore struct {
	storage.Store
	t       *testing.T
	written []string
}

func (s *recordingStore) record(values ...any) {
	raw, err := json.Marshal(values)
	if err != nil {
		s.t.Fatal(err)
	}
	s.written = append(s.written, string(raw))
}

func (s *recordingStore) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	s.record(g)
	return s.Store.CreateGrant(ctx, g)
}

func (s *recordingStore) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	s.record(g)
	return s.Store.UpdateGrant(ctx, g)
}

func (s *recordingStore) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	s.record(c)
	return s.Store.PutConsent(ctx, c)
}

func (s *recordingStore) SetMark(ctx context.Context, m storage.Mark) error {
	s.record(m)
	return s.Store.SetMark(ctx, m)
}

func (s *recordingStore) CreateMark(ctx context.Context, m storage.Mark) error {
	s.record(m)
	return s.Store.CreateMark(ctx, m)
}

func TestARecordHoldsNothingThatCouldBeUsed(t *testing.T) {
	w := newServer(t)
	store := &recordingStore{Store: w.Memory, t: t}
	w.Store.Store = store
	c := w.AddClient(newClientOfAllGrants())
	code := w.Code(w.Authorization(c, "openid", "offline_access"))
	begun := w.RequireOK(w.Redeem(c, code))
	refreshed := w.RequireOK(w.Refresh(c, begun.String("refresh_token")))
	byPassword := w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", servertest.Username, "password", servertest.Password, "scope", "openid"))
	machine := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
	for _, access := range []string{begun.String("access_token"), machine.String("access_token")} {
		before := len(store.written)
		w.RequireOK(w.Post("/revoke", c, "token", access))
		if len(store.written) == before {
			t.Fatal("the mark of a revoked token was not recorded")
		}
	}
	w.RequireOK(w.Post("/revoke", c, "token", refreshed.String("refresh_token")))

	plain, err := w.Keys.Open(keys.PurposeCode, code)
	if err != nil {
		t.Fatal(err)
	}
	if id := w.StoredGrants()[0].ID; strings.Contains(string(plain), id) {
		t.Error("the record is named by what the code holds, and not by its hash")
	}
	var content struct{ ID string }
	if err := cbor.Unmarshal(plain, &content); err != nil || content.ID == "" {
		t.Fatalf("the code holds %x (%v)", plain, err)
	}
	secrets := map[string]string{
		"the code": code, "the id that the code holds": content.ID, "the client's secret": servertest.Secret, "the password": servertest.Password,
		"the password's hash": servertest.User().PasswordHash, "the verifier": servertest.Verifier, "the token of a machine": machine.String("access_token"),
	}
	for what, a := range map[string]servertest.Answer{"first": begun, "refreshed": refreshed, "password's": byPassword} {
		for _, kind := range []string{"access_token", "refresh_token", "id_token"} {
			secrets["the "+what+" "+kind] = a.String(kind)
		}
	}
	const part = 20
	if len(store.written) < 6 {
		t.Fatalf("%d records were written", len(store.written))
	}
	for what, secret := range secrets {
		if len(secret) <= part {
			t.Fatalf("%s is %q", what, secret)
		}
		// The part before the last dot is the id of a key, or the header and claims of a token. A
		// part of this length cannot be guessed.
		usable, encoded := secret[strings.LastIndex(secret, ".")+1:], base64.StdEncoding.EncodeToString([]byte(secret))
		for _, record := range store.written {
			for i := range len(usable) - part + 1 {
				if strings.Contains(record, usable[i:i+part]) {
					t.Fatalf("%s, or a part of it, is in the record %s", what, record)
				}
			}
			if strings.Contains(record, encoded) {
				t.Errorf("%s, encoded, is in the record %s", what, record)
			}
		}
	}
}
