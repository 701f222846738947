package master

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// placementFreeMin is the free space below which a disk gets no new volumes.
const placementFreeMin = 64 << 20

// candidate is a disk that is up, as placement sees it.
type candidate struct {
	disk       granary.DiskID
	server     granary.ServerID
	name       string // of the server, for people
	zone, rack string
	free       uint64
	writable   bool
	class      string
}

// level is a kind of failure domain, from the narrowest.
type level int

const (
	levelDisk level = iota
	levelServer
	levelRack
	levelZone
)

// String returns the word that cluster status prints.
func (l level) String() string { return [...]string{"disk", "server", "rack", "zone"}[l] }

// domain returns the name of the failure domain that a disk belongs to.
func (l level) domain(c candidate) string {
	switch l {
	case levelZone:
		return c.zone
	case levelRack:
		return c.zone + "/" + c.rack
	case levelServer:
		return string(c.server)
	default:
		return string(c.disk)
	}
}

// label names the domain for people.
func (l level) label(c candidate) string {
	switch l {
	case levelZone:
		return cmp.Or(c.zone, "(no zone)")
	case levelRack:
		return strings.Trim(c.zone+"/"+c.rack, "/")
	case levelServer:
		return c.name
	default:
		return fmt.Sprintf("%.8s on %s", c.disk, c.name)
	}
}

// domainsOf groups disks by the widest kind of failure domain of which there is more than one; by
// disks, if there is but one of everything.
func domainsOf(cs []candidate) (level, map[string][]candidate) {
	for l := levelZone; ; l-- {
		domains := make(map[string][]candidate)
		for _, c := range cs {
			domains[l.domain(c)] = append(domains[l.domain(c)], c)
		}
		if len(domains) > 1 || l == levelDisk {
			return l, domains
		}
	}
}

// usable leaves out the disks that are full, read-only, not wanted, or of another class than is asked for.
func usable(cs []candidate, exclude []granary.DiskID, class string) []candidate {
	return slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool {
		return !c.writable || c.free < placementFreeMin || class != "" && c.class != class || slices.Contains(exclude, c.disk)
	})
}

// shardsOf returns the k and m that a policy gives for a number of failure domains.
func shardsOf(p granary.Policy, domains int) (k, m int) {
	if p.Auto() {
		return granary.AutoShards(domains)
	}
	return p.DataShards, p.ParityShards
}

// place chooses the disks of a new volume: at most m shards in one failure domain (with m = 0, one),
// as few as can be in each domain and on each server, and more often on disks with more free space.
// It is the leader's choice alone, so it may be random.
func place(p granary.Policy, all []candidate, exclude []granary.DiskID, rnd *rand.Rand) (*granary.Placement, error) {
	cs := usable(all, exclude, p.Class)
	if len(cs) == 0 {
		return nil, granary.Errorf(granary.KindNoSpace, "open volume", "", "policy %s needs disks, and %s", p, whyNone(all, p.Class))
	}
	l, domains := domainsOf(cs)
	k, m := shardsOf(p, len(domains))
	perDomain := max(m, 1)
	room := 0
	for _, d := range domains {
		room += min(len(d), perDomain)
	}
	if room < k+m {
		return nil, tooFewDomains(p, k, m, l, domains)
	}
	disks := spread(domains, k+m, perDomain, rnd)
	rnd.Shuffle(len(disks), func(i, j int) { disks[i], disks[j] = disks[j], disks[i] })
	return &granary.Placement{DataShards: k, ParityShards: m, Disks: disks}, nil
}

// spread takes n disks from the domains in rounds: no domain gets another shard before all others
// that could have as many.
func spread(domains map[string][]candidate, n, perDomain int, rnd *rand.Rand) []granary.DiskID {
	type lot struct {
		left   []candidate // in the order of the draw
		weight float64
	}
	var lots []*lot
	for _, name := range sortedKeys(domains) {
		d := domains[name]
		var free uint64
		for _, c := range d {
			free += c.free
		}
		lots = append(lots, &lot{left: draw(d, func(c candidate) float64 { return float64(c.free) }, rnd), weight: float64(free)})
	}
	lots = draw(lots, func(l *lot) float64 { return l.weight }, rnd)
	onServer := make(map[granary.ServerID]int)
	onRack := make(map[string]int)
	var disks []granary.DiskID
	for round := 0; round < perDomain && len(disks) < n; round++ {
		for _, l := range lots {
			if len(disks) == n || len(l.left) == 0 {
				continue
			}
			best := 0
			for i, c := range l.left {
				if cmp.Or(cmp.Compare(onRack[levelRack.domain(c)], onRack[levelRack.domain(l.left[best])]),
					cmp.Compare(onServer[c.server], onServer[l.left[best].server])) < 0 {
					best = i
				}
			}
			c := l.left[best]
			l.left = slices.Delete(l.left, best, best+1)
			onServer[c.server]++
			onRack[levelRack.domain(c)]++
			disks = append(disks, c.disk)
		}
	}
	return disks
}

// draw orders things at random, the heavier ones more often first (Efraimidis and Spirakis, 2006).
func draw[T any](things []T, weight func(T) float64, rnd *rand.Rand) []T {
	type ticket struct {
		thing T
		key   float64
	}
	tickets := make([]ticket, len(things))
	for i, t := range things {
		tickets[i] = ticket{t, math.Log(1-rnd.Float64()) / max(weight(t), 1)}
	}
	slices.SortStableFunc(tickets, func(a, b ticket) int { return cmp.Compare(b.key, a.key) })
	out := make([]T, len(things))
	for i, t := range tickets {
		out[i] = t.thing
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// whyNone says why there is nothing to place on.
func whyNone(all []candidate, class string) string {
	switch {
	case len(all) == 0:
		return "no volume server is up with a disk that takes new volumes"
	case class != "" && !slices.ContainsFunc(all, func(c candidate) bool { return c.class == class }):
		return fmt.Sprintf("none of the %d that are up is of class %s", len(all), class)
	}
	return fmt.Sprintf("none of the %d that are up is writable, has %d MiB free and is not excluded", len(all), placementFreeMin>>20)
}

func tooFewDomains(p granary.Policy, k, m int, l level, domains map[string][]candidate) error {
	var labels []string
	for _, d := range domains {
		labels = append(labels, l.label(d[0]))
	}
	slices.Sort(labels)
	least := k + m
	if m > 0 {
		least = (k + m + m - 1) / m
	}
	is := "are"
	if len(labels) == 1 {
		is = "is"
	}
	need := fmt.Sprintf("%d failure domains (%ss)", k+m, l)
	if least < k+m {
		need = fmt.Sprintf("%d failure domains (%ss), or at least %d with %d disks in each", k+m, l, least, m)
	}
	return granary.Errorf(granary.KindNoSpace, "open volume", "", "policy %s needs %s; %d %s up: %s", p, need, len(labels), is, strings.Join(labels, ", "))
}

// effective returns what a policy gives on the disks that are up, and over which failure domain.
func effective(p granary.Policy, cs []candidate) (k, m int, domain string) {
	cs = usable(cs, nil, p.Class)
	if len(cs) == 0 {
		return 0, 0, levelDisk.String()
	}
	l, domains := domainsOf(cs)
	k, m = shardsOf(p, len(domains))
	return k, m, l.String()
}
