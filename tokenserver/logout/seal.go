package logout

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// paramForm is the field of the form that holds a sealed request. A request of an application does not have it.
const paramForm = "logout"

// How large a sealed request may be, in bytes: in a form, and in a URL, which has to pass
// everywhere.
const (
	maxForm = 12 << 10
	maxURL  = 7 << 10
)

// sealed is what a sealed request holds, as CBOR (RFC 8949): a state of characters that JSON or a
// URL escapes must not grow.
type sealed struct {
	// Session is the hash of the root of the session that the page shows. Another site cannot get such
	// a form for a session that is not its own. It is empty in the URL of the GET that a POST becomes,
	// which is tied to no session, as the URL of any other GET would not be.
	Session   string `json:"s,omitempty"`
	Started   int64  `json:"at"` // Unix seconds
	ClientUID string `json:"c,omitempty"`
	// Subject, RedirectURI, State and Stays as in request. The subject is for the URL alone: what the
	// ID token says is in it, and not the token, which alone may be larger than a URL.
	Subject     string `json:"sub,omitempty"`
	RedirectURI string `json:"u,omitempty"`
	State       string `json:"st,omitempty"`
	Stays       reason `json:"why,omitempty"`
}

// sealForm seals a request for the form of the page that shows the session with this root.
func (h *Handler) sealForm(req request, rootHash string) (string, error) {
	req.subject = ""
	return h.seal(req, rootHash, maxForm)
}

// sealPosted seals a request that came by POST for the GET that it becomes.
func (h *Handler) sealPosted(req request) (string, error) { return h.seal(req, "", maxURL) }

func (h *Handler) seal(req request, rootHash string, limit int) (string, error) {
	s := sealed{
		Session: rootHash, Started: h.Now().Unix(), Subject: req.subject, RedirectURI: req.redirectURI, State: req.state, Stays: req.stays,
	}
	if req.client != nil {
		s.ClientUID = req.client.UID
	}
	plain, err := cbor.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encoding a logout: %w", err)
	}
	out, err := h.Keys.Seal(keys.PurposeLogout, plain)
	if err != nil {
		return "", fmt.Errorf("sealing a logout: %w", err)
	}
	if len(out) > limit {
		return "", oauth.Errorf(oauth.InvalidRequest, "the request is too large")
	}
	return out, nil
}

// open gives a sealed request back, held against what is registered now, and the hash of the root of
// the session that it was sealed for.
func (h *Handler) open(ctx context.Context, value string) (request, string, error) {
	tooOld := &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageLogoutUnknown}
	plain, err := h.Keys.Open(keys.PurposeLogout, value)
	if err != nil {
		return request{}, "", tooOld
	}
	var s sealed
	if err := cbor.Unmarshal(plain, &s); err != nil {
		return request{}, "", tooOld
	}
	if h.Now().Sub(time.Unix(s.Started, 0)) > interaction.Lifetime {
		return request{}, "", tooOld
	}
	req := request{subject: s.Subject, stays: s.Stays}
	if client, ok := h.Registry.ClientByUID(s.ClientUID); ok {
		req.client = client
		web.NoteClient(ctx, client.ID)
	}
	h.redirectTo(ctx, &req, s.RedirectURI, s.State, unknown)
	return req, s.Session, nil
}
