package throttle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

const (
	// cookieDevice is the kind of the cookie that a browser keeps of the users who signed in with it.
	cookieDevice = "device"
	// deviceLifetime is how long a browser is known after a login.
	deviceLifetime = 180 * 24 * time.Hour
	// deviceUsers is how many users a browser is known for, the latest.
	deviceUsers = 4
)

// device is what the cookie holds, sealed. It proves nothing but that these users have signed in with this browser: whoever has it may guess
// as slowly as anybody, in a bucket of their own.
type device struct {
	ID string `json:"id"`
	// Users by UID, the latest first, and when each signed in, in Unix seconds.
	Users []deviceUser `json:"users"`
}

type deviceUser struct {
	UID string `json:"uid"`
	// Epoch of the user at the login. After a change of the password the browser is as unknown as any other, until a login with the new one:
	// a thief who knew the old one may have made it known.
	Epoch string `json:"ep"`
	Since int64  `json:"at"`
}

// Devices knows the browsers that users have signed in with. It keeps nothing: the browsers do. All fields are needed.
type Devices struct {
	Keys   *keys.Set
	Now    func() time.Time
	Random io.Reader
}

// Known is the id of the browser if the user has signed in with it since the password changed last, else empty. Epoch is the user's of now.
func (d *Devices) KnownID(r *http.Request, issuer, userUID, epoch string) string {
	known := d.open(r, issuer)
	for _, user := range known.Users {
		if user.UID == userUID && user.Epoch == epoch && d.Now().Sub(time.Unix(user.Since, 0)) < deviceLifetime {
			return known.ID
		}
	}
	return ""
}

// Remember that the user, who is of this epoch, has signed in with the browser.
func (d *Devices) RememberUser(w http.ResponseWriter, r *http.Request, issuer, userUID, epoch string) error {
	known := d.open(r, issuer)
	if known.ID == "" {
		id := make([]byte, 16)
		if _, err := io.ReadFull(d.Random, id); err != nil {
			return fmt.Errorf("drawing a device id: %w", err)
		}
		known.ID = base64.RawURLEncoding.EncodeToString(id)
	}
	users := slices.DeleteFunc(known.Users, func(u deviceUser) bool { return u.UID == userUID })
	users = slices.Insert(users, 0, deviceUser{UID: userUID, Epoch: epoch, Since: d.Now().Unix()})
	known.Users = users[:min(len(users), deviceUsers)]
	data, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("encoding a device: %w", err)
	}
	sealed, err := d.Keys.Seal(keys.PurposeDevice, data)
	if err != nil {
		return fmt.Errorf("sealing a device: %w", err)
	}
	web.CookiesOf(issuer).Set(w, cookieDevice, sealed, deviceLifetime)
	return nil
}

// open the cookie; one that is missing, or that we have not sealed, is of a browser that nobody has signed in with.
func (d *Devices) open(r *http.Request, issuer string) device {
	data, err := d.Keys.Open(keys.PurposeDevice, web.CookiesOf(issuer).Get(r, cookieDevice))
	if err != nil {
		return device{}
	}
	var known device
	if json.Unmarshal(data, &known) != nil {
		return device{}
	}
	return known
}
