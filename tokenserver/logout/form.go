package logout

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// paramForm is the field of the form that holds it, sealed. A request of an application does not have it.
const paramForm = "logout"

// maxForm is how large the field may become, in bytes.
const maxForm = 12 << 10

// form is what the page's form holds.
type form struct {
	// Session is the hash of the root of the session that the page shows. Another site cannot get such a form for a session that is not its own.
	Session   string `json:"s"`
	Started   int64  `json:"at"` // Unix seconds
	ClientUID string `json:"c,omitempty"`
	// RedirectURI, State and Stays as in request.
	RedirectURI string `json:"u,omitempty"`
	State       string `json:"st,omitempty"`
	Stays       reason `json:"why,omitempty"`
}

func (h *Handler) sealForm(req request, current *session.Session) (string, error) {
	f := form{Session: current.RootHash(), Started: h.Now().Unix(), RedirectURI: req.redirectURI, State: req.state, Stays: req.stays}
	if req.client != nil {
		f.ClientUID = req.client.UID
	}
	plain, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("encoding a logout: %w", err)
	}
	sealed, err := h.Keys.Seal(keys.PurposeLogout, plain)
	if err != nil {
		return "", fmt.Errorf("sealing a logout: %w", err)
	}
	if len(sealed) > maxForm {
		return "", oauth.Errorf(oauth.InvalidRequest, "the request is too large")
	}
	return sealed, nil
}

// openForm gives the request back, held against what is registered now, and the hash of the root that the page showed.
func (h *Handler) openForm(ctx context.Context, sealed string) (request, string, error) {
	tooOld := &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageLogoutUnknown}
	plain, err := h.Keys.Open(keys.PurposeLogout, sealed)
	if err != nil {
		return request{}, "", tooOld
	}
	var f form
	if err := json.Unmarshal(plain, &f); err != nil {
		return request{}, "", tooOld
	}
	if h.Now().Sub(time.Unix(f.Started, 0)) > interaction.Lifetime {
		return request{}, "", tooOld
	}
	req := request{stays: f.Stays}
	if client, ok := h.Registry.ClientByUID(f.ClientUID); ok {
		req.client = client
		web.NoteClient(ctx, client.ID)
	}
	h.redirectTo(ctx, &req, f.RedirectURI, f.State, unknown)
	return req, f.Session, nil
}
