package ldaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// What is in the directory.
const (
	Base = "dc=acme,dc=example"
	// People are alice, bob and others, below; their passwords are Password of their uid.
	People = "ou=people," + Base
	// Groups are staff, with alice and bob, ops, with alice, and posix, with the memberUid alice.
	Groups = "ou=groups," + Base
	// Crowd has a user "many", who is in more groups than the server returns at once, which are below
	// ou=crowdgroups.
	Crowd       = "ou=crowd," + Base
	CrowdGroups = "ou=crowdgroups," + Base
	// Partners has a referral to another server, and Aliases an alias of alice, "nickname".
	Partners = "ou=partners," + Base
	Aliases  = "ou=aliases," + Base

	BindDN       = "cn=reader," + Base
	BindPassword = "password of the reader: äß,+=#"

	adminDN       = "cn=admin," + Base
	adminPassword = "password of the administrator"
	// sizeLimit is how many entries the server returns at once, to all but the administrator.
	sizeLimit = 20
	// maxFailures is after how many wrong passwords the server locks an account.
	maxFailures = 8
)

// Password returns the password of a user.
func Password(uid string) string { return "password of " + uid }

// DN returns the name of a user's entry.
func DN(uid string) string { return "uid=" + uid + "," + People }

// OddNames are users whose names need escaping in a DN, in a filter, or in both.
var OddNames = []string{`a,b+c="d"`, "#hash", `back\slash`, "paren(the)sis*", "zoë ünïcode", "semi;colon<>", " leading"}

// OddDN returns the name of the entry of one of OddNames.
func OddDN(name string) string { return fmt.Sprintf("cn=%s,%s", ldap.EscapeDN(name), People) }

// Provider returns the settings of the directory, with ldaps.
func (s *Server) Provider() documents.LDAPProvider {
	return documents.LDAPProvider{
		URL: s.URL(), BindDN: BindDN,
		Users: documents.LDAPUsers{
			BaseDN: People, Filter: "(uid=$(username))", AccountFilter: "(!(pwdAccountLockedTime=*))", Attributes: []string{"cn", "mail", "uid"},
			PasswordChangedAttribute: "pwdChangedTime",
		},
		Groups:           documents.LDAPGroups{BaseDN: Groups, OneLevel: true, Filter: "(member=$(dn))", NameAttribute: "cn"},
		ThrottleFailures: 4, ThrottleWindow: documents.Seconds(30 * time.Minute / time.Second),
	}
}

func (s *Server) configFile() string { return filepath.Join(s.dir, "slapd.conf") }

// configure writes the configuration, and a database with the entries.
func (s *Server) configure() error {
	certificate, key, err := newCertificate()
	if err != nil {
		return err
	}
	s.CABundle = certificate
	return s.write(map[string]string{"certificate.pem": certificate, "key.pem": key, "entries.ldif": entries()})
}

// copyConfiguration writes the configuration of another server, and a database with its entries.
func (s *Server) copyConfiguration(other *Server) error {
	content := map[string]string{}
	for _, name := range []string{"certificate.pem", "key.pem"} {
		pem, err := os.ReadFile(filepath.Join(other.dir, name))
		if err != nil {
			return err
		}
		content[name] = string(pem)
	}
	out, err := exec.Command(other.program(), "-T", "cat", "-f", other.configFile()).Output()
	if err != nil {
		return fmt.Errorf("reading the entries: %w", err)
	}
	content["entries.ldif"] = string(out)
	return s.write(content)
}

// write writes the configuration with other files, and a database with the entries in one of them.
func (s *Server) write(files map[string]string) error {
	files["slapd.conf"] = strings.ReplaceAll(config, "$dir", s.dir)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		return err
	}
	out, err := exec.Command(s.program(), "-T", "add", "-q", "-f", s.configFile(), "-l", filepath.Join(s.dir, "entries.ldif")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("adding the entries: %w\n%s", err, out)
	}
	return nil
}

var config = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload memberof
pidfile $dir/slapd.pid
referral "ldap://192.0.2.1"
TLSCACertificateFile $dir/certificate.pem
TLSCertificateFile $dir/certificate.pem
TLSCertificateKeyFile $dir/key.pem
database mdb
suffix "` + Base + `"
rootdn "` + adminDN + `"
rootpw "` + adminPassword + `"
directory $dir/data
dbnosync
maxsize 67108864
index objectClass,uid,mail,member,entryUUID eq
sizelimit ` + fmt.Sprint(sizeLimit) + `
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="` + BindDN + `" read by anonymous auth by * none
overlay memberof
overlay ppolicy
ppolicy_default "cn=policy,` + Base + `"
`

// entries returns the entries in LDIF (RFC 2849).
func entries() string {
	var ldif strings.Builder
	add := func(dn string, attributes ...string) {
		fmt.Fprintf(&ldif, "dn:: %s\n", base64.StdEncoding.EncodeToString([]byte(dn)))
		for i := 0; i < len(attributes); i += 2 {
			fmt.Fprintf(&ldif, "%s:: %s\n", attributes[i], base64.StdEncoding.EncodeToString([]byte(attributes[i+1])))
		}
		ldif.WriteString("\n")
	}
	person := func(dn, uid string, more ...string) {
		add(dn, append([]string{
			"objectClass", "inetOrgPerson", "uid", uid, "cn", uid + " surname", "sn", "surname", "userPassword", Password(uid),
		}, more...)...)
	}
	add(Base, "objectClass", "dcObject", "objectClass", "organization", "dc", "acme", "o", "Acme")
	for _, dn := range []string{People, Groups, Crowd, CrowdGroups, Partners, Aliases} {
		add(dn, "objectClass", "organizationalUnit")
	}
	add(BindDN, "objectClass", "organizationalRole", "objectClass", "simpleSecurityObject", "cn", "reader", "userPassword", BindPassword)
	add("cn=policy,"+Base, "objectClass", "device", "objectClass", "pwdPolicy", "cn", "policy", "pwdAttribute", "userPassword", "pwdLockout", "TRUE",
		"pwdMaxFailure", fmt.Sprint(maxFailures), "pwdLockoutDuration", "0")
	person(DN("alice"), "alice", "mail", "alice@acme.example", "mail", "a.surname@acme.example", "jpegPhoto", "\xff\xd8\xff\xe0")
	person(DN("bob"), "bob", "mail", "shared@acme.example")
	person(DN("carol"), "carol", "mail", "shared@acme.example")
	person(DN("rené"), "rené")
	for i, name := range OddNames {
		person(OddDN(name), name, "cn", name, "employeeNumber", fmt.Sprint(i))
	}
	add("cn=staff,"+Groups, "objectClass", "groupOfNames", "cn", "staff", "member", DN("alice"), "member", DN("bob"))
	add("cn=ops,"+Groups, "objectClass", "groupOfNames", "cn", "ops", "member", DN("alice"))
	add("cn=posix,"+Groups, "objectClass", "device", "objectClass", "extensibleObject", "cn", "posix", "description", "alice")
	person("uid=many,"+Crowd, "many")
	for i := range sizeLimit + 1 {
		add(fmt.Sprintf("cn=g%d,%s", i, CrowdGroups), "objectClass", "groupOfNames", "member", "uid=many,"+Crowd)
	}
	add("uid=elsewhere,"+Partners, "objectClass", "referral", "objectClass", "extensibleObject", "uid", "elsewhere", "ref", "ldap://192.0.2.1/"+DN("alice"))
	person("uid=partner,"+Partners, "partner")
	add("uid=nickname,"+Aliases, "objectClass", "alias", "objectClass", "extensibleObject", "uid", "nickname", "aliasedObjectName", DN("alice"))
	return ldif.String()
}

// newCertificate returns a certificate for the server that is its own issuer, and its key, in PEM.
func newCertificate() (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "the directory of a test"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(host)}, DNSNames: []string{Name}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), nil
}
