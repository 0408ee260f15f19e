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
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

const (
	// cookieDevice is the kind of the cookie that says which users have signed in with a browser.
	cookieDevice = "device"
	// deviceLifetime is how long a browser is known after a login.
	deviceLifetime = 180 * 24 * time.Hour
	// maxDeviceUsers is for how many users a browser is known: the last ones that signed in.
	maxDeviceUsers = 4
)

// device is what the cookie contains, sealed. It proves only that these users have signed in with
// this browser. Who steals it may guess passwords as slowly as anyone else, in a bucket of its own.
type device struct {
	ID    string       `json:"id"`
	Users []deviceUser `json:"users"` // the last one first
}

type deviceUser struct {
	UID string `json:"uid"`
	// Epoch is that of the user at the login. After a change of the password the browser is unknown
	// until the user logs in with the new one: a thief who knew the old one may have made it known.
	Epoch string `json:"ep"`
	Since int64  `json:"at"` // Unix seconds
}

// Devices tells which browsers users have signed in with. It stores that in the browsers only. All
// fields are required.
type Devices struct {
	Keys   *keys.Set
	Now    func() time.Time
	Random io.Reader
}

// KnownID returns the id of the browser if the user has signed in with it since the last change of
// the password, and later than the limits, otherwise "". The epoch and the limits are those that the
// user has now.
func (d *Devices) KnownID(r *http.Request, issuer, userUID, epoch string, limits notbefore.Limits) string {
	known := d.openCookie(r, issuer)
	for _, user := range known.Users {
		if user.UID == userUID && user.Epoch == epoch && d.isCurrent(user, limits) {
			return known.ID
		}
	}
	return ""
}

// Browser is a browser with which a user has signed in. The zero value stands for one that is not known.
type Browser struct {
	ID string
	// UserUID is the UID of the last user who has.
	UserUID string
}

// Browser returns the browser if it is known for the last user who has signed in with it, but for the
// epoch. The limits are those that a user has now.
func (d *Devices) Browser(r *http.Request, issuer string, limits func(userUID string) notbefore.Limits) Browser {
	known := d.openCookie(r, issuer)
	if len(known.Users) == 0 || !d.isCurrent(known.Users[0], limits(known.Users[0].UID)) {
		return Browser{}
	}
	return Browser{known.ID, known.Users[0].UID}
}

// isCurrent reports whether a sign-in is later than the limits, and not too long ago.
func (d *Devices) isCurrent(user deviceUser, limits notbefore.Limits) bool {
	since := time.Unix(user.Since, 0)
	return !limits.VoidsLogin(since) && d.Now().Sub(since) < deviceLifetime
}

// RememberUser records in the browser that the user, with its current epoch, has signed in.
func (d *Devices) RememberUser(w http.ResponseWriter, r *http.Request, issuer, userUID, epoch string) error {
	known := d.openCookie(r, issuer)
	if known.ID == "" {
		id := make([]byte, 16)
		if _, err := io.ReadFull(d.Random, id); err != nil {
			return fmt.Errorf("reading randomness for a device id: %w", err)
		}
		known.ID = base64.RawURLEncoding.EncodeToString(id)
	}
	users := slices.DeleteFunc(known.Users, func(u deviceUser) bool { return u.UID == userUID })
	users = slices.Insert(users, 0, deviceUser{UID: userUID, Epoch: epoch, Since: d.Now().Unix()})
	known.Users = users[:min(len(users), maxDeviceUsers)]
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

// openCookie returns what the cookie contains. It returns an empty device if there is no cookie
// that this server sealed.
func (d *Devices) openCookie(r *http.Request, issuer string) device {
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
