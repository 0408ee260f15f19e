package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// MaxMemory is how many bytes of memory a hash that CheckHash accepts takes at most.
const MaxMemory = 128 << 20

// The costs that a hash may have: someone who writes hashes must not be able to stop the token
// server. They are above the defaults of applications (Django: m=102400,t=2,p=8; Vaultwarden:
// m=65540,t=3,p=4).
const (
	maxMemory  = MaxMemory >> 10 // KiB
	maxTime    = 10
	maxThreads = 8
	minBcrypt  = 4
	maxBcrypt  = 14
)

// ErrHash means that a string is no hash, or one that costs too much.
var ErrHash = errors.New("not an argon2id or bcrypt hash within the allowed costs")

// argon2Params are the costs of an argon2id hash: memory in KiB, passes, lanes.
type argon2Params struct {
	memory  uint32
	time    uint32
	threads uint8
}

// parsedHash is a bcrypt hash and its cost, or an argon2id hash. Its costs are within the limits.
type parsedHash struct {
	bcrypt     bool
	bcryptCost int
	params     argon2Params
	salt       []byte
	sum        []byte
}

var (
	argon2Format = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	bcryptFormat = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
)

// CheckHash returns an error that wraps ErrHash unless a string is a hash of argon2id (version 19,
// m at most 131072 KiB, t at most 10, p at most 8) or bcrypt (cost 4 to 14). The error names
// parameters, never the hash.
func CheckHash(phc string) error {
	_, err := parseHash(phc)
	return err
}

func parseHash(phc string) (parsedHash, error) {
	if m := bcryptFormat.FindStringSubmatch(phc); m != nil {
		cost, err := strconv.Atoi(m[1])
		if err != nil || cost < minBcrypt || cost > maxBcrypt {
			return parsedHash{}, fmt.Errorf("%w: bcrypt cost %s is not from %d to %d", ErrHash, m[1], minBcrypt, maxBcrypt)
		}
		return parsedHash{bcrypt: true, bcryptCost: cost}, nil
	}
	m := argon2Format.FindStringSubmatch(phc)
	if m == nil {
		return parsedHash{}, ErrHash
	}
	memory, time, threads, err := parseCosts(m[1], m[2], m[3])
	if err != nil {
		return parsedHash{}, err
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(m[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return parsedHash{}, fmt.Errorf("%w: the salt of argon2id must be base64 without padding of 8 to 64 bytes", ErrHash)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err != nil || len(sum) < 16 || len(sum) > 64 {
		return parsedHash{}, fmt.Errorf("%w: the hash of argon2id must be base64 without padding of 16 to 64 bytes", ErrHash)
	}
	return parsedHash{params: argon2Params{memory: memory, time: time, threads: threads}, salt: salt, sum: sum}, nil
}

func parseCosts(m, t, p string) (memory, time uint32, threads uint8, err error) {
	mem, err1 := strconv.ParseUint(m, 10, 32)
	passes, err2 := strconv.ParseUint(t, 10, 32)
	lanes, err3 := strconv.ParseUint(p, 10, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, 0, 0, fmt.Errorf("%w: costs of argon2id are not numbers", ErrHash)
	}
	if mem > maxMemory || passes > maxTime || lanes > maxThreads || mem < 8*lanes {
		return 0, 0, 0, fmt.Errorf("%w: argon2id m=%d,t=%d,p=%d exceeds m=%d,t=%d,p=%d, or m is less than 8 times p",
			ErrHash, mem, passes, lanes, maxMemory, maxTime, maxThreads)
	}
	return uint32(mem), uint32(passes), uint8(lanes), nil
}
