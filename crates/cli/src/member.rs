//! Who may use the console: members of tenants, and operators.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    access::{Invitations, Member, Members, Role, Token},
    clock::Clock as _,
    id::{PersonId, TenantId},
    random::OsRandomness,
    scope::OperatorScope,
};
use serde::Serialize;

use crate::{
    failure::{Ending, Failure},
    output::Output,
    stack::{Stack, StackChoice},
    tenant,
    text::{Column, table},
};

/// Invites, lists and removes the people who may use the console.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
    #[command(flatten)]
    stack: StackChoice,
    /// Prints JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Prints an invitation into a tenant: whoever signs in and redeems it first is a member
    Add {
        /// Which tenant
        #[arg(long)]
        tenant: TenantId,
        /// What they may do
        #[arg(long, value_enum, default_value_t = RoleChoice::Reader)]
        role: RoleChoice,
    },
    /// Lists a tenant's members
    List {
        /// Which tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// Ends a membership, at once
    Remove {
        /// Who, as the list names them
        person: PersonId,
        /// Which tenant
        #[arg(long)]
        tenant: TenantId,
    },
    /// Prints an invitation to be an operator, who makes and lists tenants in the console
    AddOperator,
    /// Makes somebody an operator no more
    RemoveOperator {
        /// Who
        person: PersonId,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleChoice {
    Reader,
    Administrator,
}

impl From<RoleChoice> for Role {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::Reader => Self::Reader,
            RoleChoice::Administrator => Self::Administrator,
        }
    }
}

/// An invitation; its token is in here and nowhere else, once.
#[derive(Serialize)]
struct Invited {
    token: String,
    url: String,
    expires_at: Timestamp,
}

impl MemberArgs {
    /// Does what the subcommand says.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let Self {
            command,
            stack: choice,
            json,
        } = self;
        let stack = choice.open().await?;
        let operator = OperatorScope::of_this_process();
        let now = SystemClock.now();
        let invitations = Invitations::new(stack.store.clone());
        let members = Members::new(stack.store.clone());
        match command {
            MemberCommand::Add { tenant, role } => {
                let (_, scope) = tenant::find(&stack, &tenant).await?;
                let invited = invitations.invite(&scope, role.into(), now, &OsRandomness);
                tell(&stack, &invited.await?.0, now, json)?;
            }
            MemberCommand::AddOperator => {
                let invited = invitations.invite_operator(operator, now, &OsRandomness);
                tell(&stack, &invited.await?.0, now, json)?;
            }
            MemberCommand::List { tenant } => {
                let (_, scope) = tenant::find(&stack, &tenant).await?;
                let (mut all, mut more) = (Vec::<Member>::new(), true);
                while more {
                    let after = all.last().map(|member| member.person.clone());
                    let (page, is_more) = members.list(&scope, after.as_ref(), 100).await?;
                    all.extend(page);
                    more = is_more;
                }
                if json {
                    Output::Stdout.write_json(&all)?;
                } else {
                    Output::Stdout.write(list(&all).as_bytes())?;
                }
            }
            MemberCommand::Remove { person, tenant } => {
                let (_, scope) = tenant::find(&stack, &tenant).await?;
                if !members.remove(&scope, &person).await? {
                    let fix = format!("`portwarden member list --tenant {tenant}` lists the members");
                    let message = format!("tenant {tenant} has no member {person}");
                    return Err(Failure::new("member_missing", message, fix));
                }
            }
            MemberCommand::RemoveOperator { person } => {
                if !members.remove_operator(operator, &person).await? {
                    let fix = "an operator's id is shown to them in the console, as person";
                    return Err(Failure::new(
                        "operator_missing",
                        format!("{person} is no operator"),
                        fix,
                    ));
                }
            }
        }
        Ok(Ending::Done)
    }
}

fn tell(stack: &Stack, token: &Token, now: Timestamp, json: bool) -> Result<(), Failure> {
    let invited = Invited {
        token: token.expose().to_owned(),
        url: format!("{}/join#{}", stack.console_url()?, token.expose()),
        expires_at: now + Invitations::LAST,
    };
    if json {
        Output::Stdout.write_json(&invited)
    } else {
        let text = format!(
            "Send this to them over a safe way; it can be redeemed once, until {:.0}:\n  {}\n",
            invited.expires_at, invited.url
        );
        Output::Stdout.write(text.as_bytes())
    }
}

fn list(members: &[Member]) -> String {
    let row = |member: &Member| {
        [
            member.person.to_string(),
            member.role.name().to_owned(),
            member.name.clone(),
        ]
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    let columns = [
        Column::new("PERSON"),
        Column::new("ROLE"),
        Column::up_to("NAME", 40),
    ];
    table(&columns, &rows)
}
