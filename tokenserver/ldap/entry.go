package ldap

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"
)

// Entry is what a directory says of a user.
type Entry struct {
	// Subject is the value of the subject attribute.
	Subject []byte
	// Upstream has the attributes, by the names that the document has, as lists of strings; and the
	// groups, if the document says how they are found.
	Upstream map[string]any
	// PasswordChanged is a hash of the values of the password-changed attribute, also if there are
	// none; empty if the document names no such attribute.
	PasswordChanged string
}

// maxSubject is the size of the longest subject, in bytes.
const maxSubject = 255

// subjectOf returns the subject of an entry: exactly one value.
func (d *Directory) subjectOf(entry *goldap.Entry) ([]byte, error) {
	values := entry.GetEqualFoldRawAttributeValues(d.document.SubjectAttribute)
	if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > maxSubject {
		return nil, fmt.Errorf("the entry has not one %s of 1 to %d bytes", d.document.SubjectAttribute, maxSubject)
	}
	return values[0], nil
}

// newEntry returns what an entry says, but for the groups. A directory returns values in any order, so
// they are sorted.
func (d *Directory) newEntry(found *goldap.Entry) (Entry, error) {
	subject, err := d.subjectOf(found)
	if err != nil {
		return Entry{}, &Error{Incomplete, err}
	}
	attributes := map[string]any{}
	for _, name := range d.document.LDAP.Users.Attributes {
		if values := found.GetEqualFoldRawAttributeValues(name); len(values) > 0 {
			attributes[name] = texts(name, values)
		}
	}
	entry := Entry{Subject: subject, Upstream: map[string]any{"attributes": attributes}}
	if name := d.document.LDAP.Users.PasswordChangedAttribute; name != "" {
		values := found.GetEqualFoldRawAttributeValues(name)
		if len(values) == 0 {
			d.directories.Metrics.countUndated(d.document.Name)
			d.directories.Log.Warn("an entry does not say when its password was changed, so another password ends nothing",
				"provider", d.document.Name, "attribute", name)
		}
		entry.PasswordChanged = hashValues(values)
	}
	return entry, nil
}

// addGroups adds the groups of the user whose entry was found, if the document says how.
func (d *Directory) addGroups(conn *connection, found *goldap.Entry, to Entry) error {
	if d.settings.Groups == nil {
		return nil
	}
	names, err := d.groups(conn, found)
	if err == nil {
		to.Upstream["groups"] = names
	}
	return err
}

// binaryAttributes have values that are no text, though some of them could be read as such.
var binaryAttributes = []string{
	"cacertificate", "jpegphoto", "msexchmailboxguid", "objectguid", "objectsid", "photo", "sidhistory", "thumbnailphoto", "tokengroups", "usercertificate",
	"userpkcs12", "usersmimecertificate",
}

// texts returns the values of an attribute as strings: in base64, if any of them is no text.
func texts(name string, values [][]byte) []string {
	base, options, _ := strings.Cut(strings.ToLower(name), ";")
	isText := !slices.Contains(binaryAttributes, base) && !slices.Contains(strings.Split(options, ";"), "binary") &&
		!slices.ContainsFunc(values, func(v []byte) bool { return !utf8.Valid(v) || slices.Contains(v, 0) })
	all := make([]string, 0, len(values))
	for _, value := range values {
		if isText {
			all = append(all, string(value))
		} else {
			all = append(all, base64.StdEncoding.EncodeToString(value))
		}
	}
	slices.Sort(all)
	return all
}

// hashValues returns a hash of values, in whatever order they come.
func hashValues(values [][]byte) string {
	sums := make([]string, 0, len(values))
	for _, value := range values {
		sum := sha256.Sum256(value)
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	sum := sha256.Sum256([]byte(strings.Join(sums, "")))
	return hex.EncodeToString(sum[:])
}
