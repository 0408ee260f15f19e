package clientauth

import (
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// RFC 6749 appendix B has this example of form-encoding: space % & + £ €.
func TestBasicCredentialsAreFormDecoded(t *testing.T) {
	r := httptest.NewRequest("POST", "/token", nil)
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("shop%2Eweb:+%25%26%2B%C2%A3%E2%82%AC")))
	p, err := parseCredentials(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.ids[0] != "shop.web" || p.secrets[0] != " %&+£€" || p.method != oauth.AuthMethodSecretBasic {
		t.Errorf("presented is %+v", p)
	}
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []struct{ id, secret, header string }{
		{"s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"},
		{"shop.web", " %&+£€", "Basic c2hvcDU="},
		{"a+b", "%41%zz:%", "basic Og=="},
		{"https://shop.example.com", "a:b", "Basic"},
		{"ä", "\x00\xff\n", "Basic " + base64.StdEncoding.EncodeToString([]byte("id")) + ", x"},
		{"", "", "Bearer  x"},
	} {
		f.Add(seed.id, seed.secret, seed.header)
	}
	f.Fuzz(func(t *testing.T, id, secret, header string) {
		// Every header is one client with one secret in at most two spellings, or an error.
		r := httptest.NewRequest("POST", "/token", nil)
		r.Header.Set("Authorization", header)
		p, err := parseCredentials(r, nil)
		switch {
		case err != nil && (err.Code != oauth.InvalidClient || p.ids != nil || p.secrets != nil):
			t.Errorf("%q: %v beside %+v", header, err, p)
		case err == nil && (p.method != oauth.AuthMethodSecretBasic || len(p.ids) == 0 || len(p.ids) > comparedSecrets || len(p.secrets) == 0 || len(p.secrets) > comparedSecrets):
			t.Errorf("%q presents %+v", header, p)
		case err == nil && slices.Contains(p.ids, ""):
			t.Errorf("%q presents an empty identifier", header)
		}

		// A header as RFC 6749 defines it is parsed for all characters. So is one without
		// form-encoding, except that the id cannot have a colon.
		if id == "" {
			return
		}
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
		if p, err := parseCredentials(r, oauth.Params{"client_id": {id}}); err != nil || !slices.Equal(p.ids, []string{id}) || p.secrets[0] != secret {
			t.Errorf("%q and %q, encoded, are presented as %+v (%v)", id, secret, p, err)
		}
		if strings.Contains(id, ":") {
			return
		}
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
		if p, err := parseCredentials(r, nil); err != nil || !slices.Contains(p.ids, id) || !slices.Contains(p.secrets, secret) {
			t.Errorf("%q and %q, as they are, are presented as %+v (%v)", id, secret, p, err)
		}
	})
}
