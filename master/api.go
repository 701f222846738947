package master

// The seam between the two halves of this package, and what cmd calls. To be kept.
//
// The state machine (format.go, command.go, state.go, apply*.go, query*.go): pure but for its Pebble store.
//
//	// command is what one Raft log entry holds (a batch of items), with a version byte.
//	type command struct {
//		Time  granary.Time   // stamped by the leader; apply uses max(Time, last+1)
//		Items []item
//	}
//	type item interface{…}, one of:
//	  mutation{Session, LowestUnacked, granary.Request}   // Request.Op encoded by wire.MarshalOp
//	  openSession{Client string, Nonce uint64}            // session id = index of the entry (+ position/2^… kept unique)
//	  expireSession{Session}                              // proposed by the leader
//	  registerServer{granary.Server, []granary.DiskID}    // first heartbeat, or something changed
//	  shardsSealed{Volume, Epoch, Shards bitmask}         // a seal driver's news; when all are, state becomes VolumeSealed
//	  reclaim{Limit int}                                  // one bounded step: at most 2,000 keys
//	  initCluster{Cluster, RootUser granary.User}         // first entry of a new cluster: root, buckets, default policy
//	  setMember{ID, GRPCAddr string}
//	func (c *command) marshal() []byte ; func unmarshalCommand([]byte) (*command, error)
//
//	type entry struct { Index, Term uint64; Data []byte }   // Data nil: a Raft-internal entry, only the index advances
//	func openState(dir string, o stateOptions) (*state, error)
//	func (s *state) apply(entries []entry) [][]granary.Result  // one result slice an entry; one Pebble batch (NoSync) for all; skips entries <= applied index; panics on a store error
//	func (s *state) applied() (index, term uint64)
//	func (s *state) waitApplied(ctx, index) error           // until readers see that index
//	func (s *state) checkpoint(dir string) error             // durable when it returns
//	func (s *state) sync() error                             // makes everything applied durable
//	func (s *state) close() error
//	func (s *state) query(ctx, q granary.Query, live liveness) (granary.Answer, granary.Index, error) // from one Pebble snapshot
//	// small readers for the leader's tasks, each from a snapshot:
//	func (s *state) sessions() []sessionRecord ; volumesInState(st) []granary.Volume ; servers() []granary.Server ;
//	     disks… ; pendingReclaim() bool ; cluster() (granary.ClusterID, bool) ; members() map[string]string ; policy(id) (granary.Policy, bool) ; user(accessKey)
//
//	// liveness is what only the leader knows: heartbeats.
//	type liveness interface {
//		serverUp(granary.ServerID) bool
//		usage(granary.DiskID) (granary.DiskUsage, bool)
//	}
//
// The node (options.go, server.go, raft.go, snapshot.go, rpc.go, placement.go, leader.go):
//
//	type ShardControl interface {      // supplied by cmd; volume.Client is one
//		Seal(ctx context.Context, addr string, ref granary.ShardRef, epoch granary.Epoch, length uint64) error
//		Drop(ctx context.Context, addr string, ref granary.ShardRef, epoch granary.Epoch) error
//	}
//	type Options struct {
//		Dir      string
//		ID       string            // of this node in the Raft group; default: GRPCAddr at first start, then what the directory says
//		GRPCAddr string            // advertised
//		RaftAddr string            // bind and advertise; Listener may be given instead
//		Peers    []Peer            // the founding members, this one among them; empty: alone. Peer{ID, GRPCAddr, RaftAddr}
//		RootUser granary.User      // keys of the S3 root user; empty: made at random at the first start
//		Shards   ShardControl
//		SessionTTL, ServerDownAfter, HeartbeatTimeout … time.Duration // defaults 30s, 4s, 1s
//		Log      *slog.Logger
//	}
//	func Open(o Options) (*Server, error)
//	func (s *Server) Close() error     // hands leadership over first
//	func (s *Server) RootUser() granary.User
//	Server implements wire.Master (by value of its methods; it need not import more of wire than encodings and the interface).
