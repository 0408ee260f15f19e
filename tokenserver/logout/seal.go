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

// paramForm is the field of the form that contains a sealed request. A request of an application
// does not have it.
const paramForm = "logout"

// maxSealed is how many bytes a sealed request may have, in a form or in a URL. A request by POST
// then fits that a GET with a URL of 8 KiB could make, which is what proxies accept, and the URL that
// it is redirected to fits into a header of 16 KiB beside the cookies.
const maxSealed = 12 << 10

// sealedRequest is a request as it is sealed, in CBOR (RFC 8949): no character of a state takes
// more than its own bytes, unlike in JSON or in a URL.
type sealedRequest struct {
	// Session is the hash of the root of the session that the page shows, so another site cannot
	// use a form that it got for its own session. It is empty in the URL of the GET that follows a
	// POST: like the URL of any other request, it is not tied to a session.
	Session   string `json:"s,omitempty"`
	StartedAt int64  `json:"at"` // Unix seconds
	ClientUID string `json:"c,omitempty"`
	// Subject is in the URL only. It replaces the ID token, which alone may be larger than a URL.
	Subject     string           `json:"sub,omitempty"`
	IssuedAt    int64            `json:"iat,omitempty"` // of that ID token
	RedirectURI string           `json:"u,omitempty"`
	State       string           `json:"st,omitempty"`
	NoRedirect  noRedirectReason `json:"why,omitempty"`
}

// sealForm seals a request for the form of the page that shows the session with a root.
func (h *Handler) sealForm(req request, rootHash string) (string, error) {
	req.subject, req.issuedAt = "", 0
	return h.seal(req, rootHash)
}

// sealPosted seals a request by POST for the GET that follows it.
func (h *Handler) sealPosted(req request) (string, error) { return h.seal(req, "") }

func (h *Handler) seal(req request, rootHash string) (string, error) {
	s := sealedRequest{
		Session: rootHash, StartedAt: h.Now().Unix(), Subject: req.subject, IssuedAt: req.issuedAt,
		RedirectURI: req.redirectURI, State: req.state, NoRedirect: req.noRedirect,
	}
	if req.client != nil {
		s.ClientUID = req.client.UID
	}
	encoded, err := cbor.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encoding a logout request: %w", err)
	}
	sealed, err := h.Keys.Seal(keys.PurposeLogout, encoded)
	if err != nil {
		return "", fmt.Errorf("sealing a logout request: %w", err)
	}
	if len(sealed) > maxSealed {
		return "", oauth.Errorf(oauth.InvalidRequest, "the request is too large")
	}
	return sealed, nil
}

// open opens a sealed request, and returns it with the hash of the root of the session that it was
// sealed for. What the request may do is checked against what is registered now.
func (h *Handler) open(ctx context.Context, sealed string) (req request, rootHash string, err error) {
	unknown := &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageLogoutUnknown}
	encoded, err := h.Keys.Open(keys.PurposeLogout, sealed)
	if err != nil {
		return request{}, "", unknown
	}
	var s sealedRequest
	if err := cbor.Unmarshal(encoded, &s); err != nil {
		return request{}, "", unknown
	}
	if h.Now().Sub(time.Unix(s.StartedAt, 0)) > interaction.Lifetime {
		return request{}, "", unknown
	}
	req = request{subject: s.Subject, issuedAt: s.IssuedAt, noRedirect: s.NoRedirect}
	if client, ok := h.Registry.ClientByUID(s.ClientUID); ok {
		req.client = client
		web.NoteClient(ctx, client.ID)
	}
	h.setRedirect(ctx, &req, s.RedirectURI, s.State, clientUnknown)
	return req, s.Session, nil
}
